"""G-b3: the whole ingestion path, roll-ups included, against COPY into a lean table with the same keys."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING
from uuid import UUID, uuid4

import psycopg
from django.db import connection

from bench.contracts import make_tenant, open_contract
from bench.rows import Options, Row, figure, interleaved, rate

if TYPE_CHECKING:
    from billing.metering.metering import Interval

EVENTS, FEW_EVENTS = 40_000, 2_000
BATCH = 1_000
STAGED_BATCH = 5_000
SINGLES, FEW_SINGLES = 300, 5
LEAN = """
CREATE TABLE lean (tenant smallint, key uuid PRIMARY KEY, meter smallint, at timestamptz, micro bigint);
CREATE UNLOGGED TABLE staged (LIKE lean);
"""


@figure("G-b3")
def usage_ingest(options: Options) -> Iterator[Row]:
    """Measure events per second of record_usage, its replay, staged COPY, and single rows through the ORM."""
    from billing.metering.metering import record_usage
    from billing.models import UsageRollup
    from billing.pricing import price_books
    from tenants.isolation.scoping import tenant_scope

    tenant = make_tenant("Bench", "bench@example.org")
    open_contract(tenant.id)
    with tenant_scope(tenant.id):
        from tenants.models import Project

        project = Project.objects.get(slug="default").id
        start = price_books.terms().lists[0].effective_at
    fleet = [(uuid4(), uuid4(), f"device:{number}") for number in range(200)]
    admin = psycopg.connect(options.environment("owner")["DATABASE_OWNER_URL"], autocommit=True)
    admin.execute(LEAN)
    events, singles = options.size(EVENTS, FEW_EVENTS), options.size(SINGLES, FEW_SINGLES)
    sent: list[list[Interval]] = []
    serial = itertools.count()

    def batches() -> list[list[Interval]]:
        made = [interval(project, start, fleet, next(serial)) for _ in range(events)]
        return [made[at : at + BATCH] for at in range(0, events, BATCH)]

    def record(parts: list[list[Interval]]) -> int:
        accepted = 0
        for part in parts:
            with tenant_scope(tenant.id):
                accepted += record_usage(part).accepted
        return accepted

    def fresh() -> float:
        sent[:] = batches()
        return rate(events, lambda: _require(record(sent), events))

    def total() -> tuple[Decimal, Decimal]:
        with tenant_scope(tenant.id):
            rows = UsageRollup.objects.values_list("billable", "amount")
            return sum((row[0] for row in rows), Decimal(0)), sum((row[1] for row in rows), Decimal(0))

    def replay() -> float:
        before = total()
        measured = rate(events, lambda: _require(record(sent), 0))
        _require(total() == before, True)
        return measured

    def one_by_one() -> float:
        usage = [interval(project, start, fleet, next(serial)) for _ in range(singles)]
        return rate(singles, lambda: [record([[item]]) for item in usage])

    # Autovacuum does this within minutes of real use: plans made on empty tables are replaced.
    fresh()
    admin.execute("ANALYZE")
    sides: dict[str, Callable[[], float]] = {
        "new": fresh,
        "replay": replay,
        "COPY": partial(_staged_copy, admin, events),
        "single": one_by_one,
    }
    found = interleaved(options.rounds, sides)
    admin.close()
    connection.close()
    absolute = {f"{name} events/s": value for name, value in found.items()}
    yield Row(
        "G-b3", "accept, rate and roll up", found["new"] / found["COPY"], 0.5, "staged COPY, lean table", absolute
    )
    yield Row("G-b3", "full replay, totals unchanged", found["replay"] / found["new"], 1.0, "the first delivery")
    yield Row("G-b3", "batches of 1,000", found["new"] / found["single"], 20.0, "one interval a transaction")


def interval(project: UUID, start: datetime, fleet: list[tuple[UUID, UUID, str]], number: int) -> Interval:
    """Return the interval of this number: a fifth of a second of one of the fleet's devices."""
    from billing.metering.metering import Interval

    job, attempt, resource = fleet[number % len(fleet)]
    # A fifth of a second each, so that a long run stays within the allowed future.
    begun = start + timedelta(microseconds=number // len(fleet) * 200_000)
    return Interval(
        key=f"{attempt}:{number}",
        meter="device_seconds",
        resource=resource,
        project_id=project,
        start=begun,
        end=begun + timedelta(microseconds=200_000),
        dims={"device_class": "cpu", "tier": "on_demand"},
        job_id=job,
        attempt_id=attempt,
    )


def _staged_copy(admin: psycopg.Connection, events: int) -> float:
    rows = [(1, uuid4(), 1, datetime(2026, 1, 1), number) for number in range(events)]  # noqa: DTZ001

    def load() -> None:
        for at in range(0, events, STAGED_BATCH):
            with admin.transaction(), admin.cursor() as cursor:
                cursor.execute("TRUNCATE staged")
                with cursor.copy("COPY staged FROM STDIN") as copy:
                    for row in rows[at : at + STAGED_BATCH]:
                        copy.write_row(row)
                cursor.execute("INSERT INTO lean SELECT * FROM staged ON CONFLICT DO NOTHING")

    return rate(events, load)


def _require(found: object, expected: object) -> None:
    if found != expected:
        raise AssertionError(f"expected {expected}, found {found}")
