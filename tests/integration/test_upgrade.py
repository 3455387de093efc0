"""A database of an earlier release migrates with its rows in it."""

from __future__ import annotations

import uuid

import pytest
from django.core.management import call_command

from tests.conftest import SESSION
from tests.support.database import copy_database, logged_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.nightly]


def test_samples_logs_and_metrics_of_before_are_kept_and_their_hours_are_summed() -> None:
    name = "exchequer_upgraded"
    with SESSION.cluster.superuser("postgres") as admin:
        admin.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
        copy_database(admin, name, "template1")
    SESSION.cluster.grant(name)
    with logged_in(SESSION.cluster, name, "exchequer_owner"):
        call_command("migrate", "compute", "0004", verbosity=0, interactive=False)
    tenant, attempt, job = (uuid.uuid4() for _ in range(3))
    with SESSION.cluster.superuser(name) as admin:
        admin.execute("SET session_replication_role = replica")
        for number, at in enumerate(("10:10", "10:50", "11:00")):
            admin.execute(
                "INSERT INTO compute_devicesample (id, tenant_id, attempt_id, job_id, device_id, number, seconds, busy, memory_bytes, at) "
                "VALUES (gen_random_uuid(), %s, %s, %s, %s, %s, 2, 0.5, %s, %s)",
                [tenant, attempt, job, uuid.uuid4(), number, 100 - number, f"2026-10-01 {at}+00"],
            )
        admin.execute(
            "INSERT INTO compute_joblog (id, tenant_id, job_id, token, position, line) VALUES (gen_random_uuid(), %s, %s, 1, 1, 'x')",
            [tenant, job],
        )
        admin.execute("SET session_replication_role = DEFAULT")
        # The rows refer to nothing: this is about moving them.
        for table in ("compute_devicesample", "compute_joblog"):
            refers = admin.execute(
                "SELECT conname FROM pg_constraint WHERE contype = 'f' AND conrelid = %s::regclass", [table]
            ).fetchall()
            assert refers, "the tables of before had references"
    with SESSION.cluster.superuser(name) as admin:
        for table, row in (("compute_job", job), ("compute_attempt", attempt)):
            _a_row(admin, table, tenant, row)
        devices = admin.execute("SELECT device_id FROM compute_devicesample").fetchall()
        for (device,) in devices:
            _a_row(admin, "compute_device", None, device)
        _a_row(admin, "tenants_tenant", None, tenant)
    with logged_in(SESSION.cluster, name, "exchequer_owner"):
        call_command("migrate", verbosity=0, interactive=False)
    with SESSION.cluster.superuser(name) as admin:
        hours = admin.execute(
            "SELECT hour::text, sampled_s, used_s, peak_memory_bytes FROM compute_devicehour ORDER BY hour"
        )
        assert [row[1:] for row in hours.fetchall()] == [(4.0, 2.0, 100), (2.0, 1.0, 98)]
        kept = admin.execute(
            "SELECT (SELECT count(*) FROM compute_devicesample), (SELECT count(*) FROM compute_joblog)"
        )
        assert kept.fetchone() == (3, 1)
        admin.execute("SELECT 1")
    with SESSION.cluster.superuser("postgres") as admin:
        admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _a_row(admin: object, table: str, tenant: uuid.UUID | None, row: uuid.UUID) -> None:
    """Write a row of a table with something in each column that must not be empty, past every check."""
    execute = admin.execute  # type: ignore[attr-defined]
    columns = execute(
        "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s AND is_nullable = 'NO' "
        "AND column_default IS NULL AND column_name NOT IN ('id', 'tenant_id')",
        [table],
    ).fetchall()
    fill = {"uuid": "gen_random_uuid()", "jsonb": "'{}'", "boolean": "false", "timestamp with time zone": "now()"}
    texts = ("character varying", "text")
    known = {"state": "'queued'" if table == "compute_job" else "'assigned'", "devices": "1"}
    values = {name: known.get(name, fill.get(kind, "''" if kind in texts else "1")) for name, kind in columns}
    values = {"id": f"'{row}'", **({"tenant_id": f"'{tenant}'"} if tenant else {}), **values}
    execute("SET session_replication_role = replica")
    execute(f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join(values.values())})")
    execute("SET session_replication_role = DEFAULT")
