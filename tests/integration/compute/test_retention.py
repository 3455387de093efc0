"""Run data is removed by whole partitions; the hours that utilisation reads stay."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import psycopg
import pytest
from django.db import connection, transaction

from compute import retention
from compute.leases import leases
from compute.leases.messages import Heartbeat, Metric, Sample
from compute.models import DeviceHour
from compute.queries.device_hours import utilisation
from tenants.isolation.scoping import tenant_scope
from tests.integration.compute.test_leases import World

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)

Control = Callable[[], AbstractContextManager[None]]
PARTITIONS = """
SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = %s::regclass
"""


def partitions(superuser: psycopg.Connection, table: str) -> set[str]:
    return {name for (name,) in superuser.execute(PARTITIONS, [table])}


def counts(superuser: psycopg.Connection) -> dict[str, int]:
    return {table: superuser.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in retention.KEPT}  # type: ignore[index]


@pytest.fixture
def seen(as_control: Control) -> World:
    """A running attempt with samples, log lines and metrics."""
    world = World(as_control)
    with world.control():
        retention.purge_expired()  # another test may have dropped today's partition
    mine = world.running()
    world.mine = mine  # type: ignore[attr-defined]
    samples = [Sample(0.5, 1.0, 7), Sample(0.5, 0.0, 9)]
    leases.heartbeat(
        mine, Heartbeat(elapsed=0.1, metrics=[Metric(1, {"loss": 0.5})], logs=[(0, "one")], samples=samples)
    )
    return world


def test_each_table_has_a_current_partition_and_accepts_rows(seen: World, superuser: psycopg.Connection) -> None:
    today = datetime.now(UTC)
    with seen.control():
        assert retention.purge_expired()["made"] == 0, "all were there"
    for ahead in range(8):
        assert f"compute_devicesample_{today + timedelta(days=ahead):%Y_%m_%d}" in partitions(
            superuser, "compute_devicesample"
        )
    assert counts(superuser) == {"compute_devicesample": 2, "compute_joblog": 1, "compute_jobmetric": 1}


def test_what_is_old_goes_by_partition_and_its_hours_stay(
    seen: World, superuser: psycopg.Connection, demo_clock: DemoClock
) -> None:
    start = datetime.now(UTC) - timedelta(hours=2)
    with tenant_scope(seen.tenant.id):
        before = sum(row.used_s for row in utilisation(start, start + timedelta(hours=4), ("device_class",)))
    demo_clock.move_to(datetime.now(UTC) + timedelta(days=13))
    with seen.control():
        retention.purge_expired()
    assert counts(superuser)["compute_devicesample"] == 2, "13 days are not 14"
    demo_clock.move_to(datetime.now(UTC) + timedelta(days=16))
    with seen.control():
        retention.purge_expired()
    assert counts(superuser) == {"compute_devicesample": 0, "compute_joblog": 1, "compute_jobmetric": 1}
    # The month of today ends within 31 days, and its partition goes 90 days after that.
    demo_clock.move_to(datetime.now(UTC) + timedelta(days=90 + 32))
    with seen.control():
        retention.purge_expired()
    assert counts(superuser) == {"compute_devicesample": 0, "compute_joblog": 0, "compute_jobmetric": 0}
    with tenant_scope(seen.tenant.id):
        (hour,) = DeviceHour.objects.all()
        assert (hour.sampled_s, hour.used_s, hour.peak_memory_bytes) == (1.0, 0.5, 9)
        after = sum(row.used_s for row in utilisation(start, start + timedelta(hours=4), ("device_class",)))
    assert after == before


def test_a_partition_that_is_still_written_to_stays(seen: World, superuser: psycopg.Connection) -> None:
    superuser.execute("DROP TABLE IF EXISTS compute_joblog_before")  # its place is taken by two of its months
    for month, at in (("2020-01", "timestamptz '2020-01-15'"), ("2020-02", "clock_timestamp()")):
        first, day, last = (first_id(superuser, f"{month}-{day:02}") for day in (1, 9, 28))
        name = f"compute_joblog_{month.replace('-', '_')}"
        superuser.execute(f"CREATE TABLE {name} PARTITION OF compute_joblog FOR VALUES FROM ('{first}') TO ('{last}')")
        superuser.execute(f"ALTER TABLE {name} OWNER TO exchequer_owner")
        superuser.execute(
            "SET session_replication_role = replica;"  # its job does not exist: only the partition matters here
            "INSERT INTO compute_joblog (id, tenant_id, job_id, token, position, at, line) VALUES (gen_random_uuid(), "
            f"'{seen.tenant.id}', '{day}', 1, 1, {at}, 'x'); "
            "SET session_replication_role = DEFAULT"
        )
    with seen.control():
        retention.purge_expired()
    left = partitions(superuser, "compute_joblog")
    assert "compute_joblog_2020_01" not in left
    assert "compute_joblog_2020_02" in left, "a job that was long paused writes where it began"
    superuser.execute("DROP TABLE compute_joblog_2020_02")


def test_a_long_read_delays_dropping_the_table_and_not_the_rows(
    seen: World, superuser: psycopg.Connection, demo_clock: DemoClock
) -> None:
    superuser.execute("SELECT compute_ensure_partitions(interval '20 days')")
    demo_clock.move_to(datetime.now(UTC) + timedelta(days=40))
    before = partitions(superuser, "compute_devicesample")
    with superuser.transaction():
        superuser.execute("LOCK TABLE compute_job IN ROW EXCLUSIVE MODE")  # as any heartbeat does
        with seen.control(), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "SET LOCAL statement_timeout = '7s'"
            )  # one refused lock takes half a second, each of all too long
            assert retention.purge_expired()["compute_devicesample"] == 0
        assert superuser.execute("SELECT count(*) FROM compute_devicesample").fetchone() == (0,)
    assert partitions(superuser, "compute_devicesample") == before
    with seen.control():
        assert retention.purge_expired()["compute_devicesample"] > 0


def first_id(superuser: psycopg.Connection, moment: str) -> str:
    row = superuser.execute("SELECT compute_first_id(%s::timestamptz)", [moment]).fetchone()
    assert row is not None
    return str(row[0])


def test_only_the_control_role_removes_and_nothing_younger_than_a_week(seen: World) -> None:
    with pytest.raises(Exception, match="permission denied"), connection.cursor() as cursor:
        cursor.execute("SELECT compute_drop_partitions('compute_joblog', '90 days')")
    with seen.control():
        for table, kept in (("compute_job", "90 days"), ("compute_joblog", "1 day")):
            with pytest.raises(Exception, match="may be dropped"), connection.cursor() as cursor:
                cursor.execute("SELECT compute_drop_partitions(%s, %s::interval)", [table, kept])
