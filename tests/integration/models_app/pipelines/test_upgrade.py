"""An upgrade of an installation with runs of pipelines that had a cap of their own."""

from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from psycopg import Connection, sql

from tests.conftest import SESSION
from tests.integration.tenants.test_operators_split import manage

EMPTY: dict[str, Any] = {
    "text": "", "character varying": "", "jsonb": "{}", "integer": 1, "smallint": 1, "bigint": 1, "boolean": False,
    "numeric": 0, "double precision": 0, "uuid": "00000000-0000-0000-0000-000000000001", "timestamp with time zone": "now",
}  # fmt: skip


def insert(admin: Connection, table: str, **values: Any) -> None:
    """Insert a row; each column that must have a value and is not given gets an empty one."""
    wanted = "SELECT column_name, data_type FROM information_schema.columns WHERE table_name = %s AND is_nullable = 'NO' AND column_default IS NULL AND is_identity = 'NO'"
    row = {name: EMPTY[kind] for name, kind in admin.execute(wanted, [table]).fetchall()} | values
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    places = sql.SQL(", ").join([sql.Placeholder()] * len(row))
    admin.execute(
        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(sql.Identifier(table), names, places), list(row.values())
    )


@pytest.mark.nightly
def test_runs_of_before_keep_their_cap_and_their_jobs(django_db_setup: object) -> None:
    name = f"upgrade_{uuid4().hex[:8]}"
    with SESSION.cluster.superuser() as admin:
        admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    SESSION.cluster.grant(name)
    try:
        manage(name, "migrate", "models_app", "0024", "--no-input")
        with SESSION.cluster.superuser(name) as admin:
            admin.execute("SET session_replication_role = replica")
            tenant, pipeline, run, other, first, second = (uuid4() for _ in range(6))
            of = {"tenant_id": tenant}
            insert(
                admin,
                "tenants_tenant",
                id=tenant,
                name="x",
                slug="x",
                timezone="UTC",
                currency="EUR",
                standing="active",
            )
            project = uuid4()
            insert(admin, "tenants_project", id=project, name="p", slug="p", **of)
            of |= {"project_id": project}
            insert(admin, "models_app_pipeline", id=pipeline, name="weekly", currency="EUR", **of)
            known = {"pipeline_id": pipeline, "currency": "EUR", "version": 1, **of}
            insert(admin, "models_app_pipelinerun", id=run, state="running", cap=Decimal("2.5"), **known)
            insert(admin, "models_app_pipelinerun", id=other, state="cancelled", ended_at="now", **known)
            for number, job in enumerate((first, second)):
                insert(admin, "compute_job", id=job, state=("succeeded", "queued")[number], currency="EUR", **of)
                step = {"run_id": run, "job_id": job, "step": "train", "item": number, "number": 1, "state": "running"}
                insert(admin, "models_app_steptry", id=uuid4(), tenant_id=tenant, **step)
        manage(name, "migrate", "--no-input")
        with SESSION.cluster.superuser(name) as admin:
            caps = admin.execute(
                "SELECT r.id, s.cap, s.currency, s.kind, s.cancelled_at IS NULL FROM models_app_pipelinerun r JOIN compute_jobset s ON s.id = r.set_id AND s.tenant_id = r.tenant_id"
            ).fetchall()
            jobs = admin.execute("SELECT id, set_id, set_index FROM compute_job").fetchall()
        assert set(caps) == {
            (run, Decimal("2.5"), "EUR", "pipeline", True),
            (other, None, "EUR", "pipeline", False),
        }
        assert set(jobs) == {(first, run, 1), (second, run, 2)}
    finally:
        with SESSION.cluster.superuser() as admin:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
