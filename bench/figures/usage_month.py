"""G-b4: the run of a month over all tenants, and one tenant's month to date, against a GROUP BY over the raw events.

At full size (`--share 1`) there are 10,000 tenants with 1,000 events each. One has its usage through the product; the
others are copies of its rows under ids of their own.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from uuid import UUID, uuid4

from django.db import connection

from bench.contracts import make_tenant, open_contract
from bench.figures.usage_ingest import interval
from bench.rows import Options, Row, figure, interleaved

ROOT = Path(__file__).resolve().parents[2]
TENANTS, FEW, EVENTS, SERIES = 10_000, 20, 1_000, 20
LOOKS = 50
#: Rows that a copy has; the ids in them become its own, but not those of prices.
TABLES = (
    "tenants_tenant", "tenants_project", "billing_meter", "billing_contract", "billing_usageseries", "billing_usageevent",
    "billing_usagerollup", "billing_billingperiod", "billing_invoice",
)  # fmt: skip
IDS = ("id", "tenant_id", "project_id", "meter_id")
COPY = """
INSERT INTO {table} ({columns}) SELECT {values} FROM {table} t, generate_series(1, {copies}) AS n WHERE t.{tenant} = '{of}'
"""
COLUMNS = """
SELECT string_agg(column_name, ',' ORDER BY ordinal_position) FROM information_schema.columns
WHERE table_name = '{table}' AND is_generated = 'NEVER'
"""
RAW = """
SELECT coalesce(sum(amount), 0) FROM (
  SELECT tenant_id, project_id, meter_id, price_id, sum(billable), sum(amount) AS amount FROM billing_usageevent
  WHERE period = '{period}' {where} GROUP BY 1, 2, 3, 4) AS s
"""
#: Prints the seconds, and the most memory in KB when a tenth of the tenants are prepared and when all are.
RUN = """
import resource, sys, time, django; django.setup()
from billing.runs import running
peaks, done, usual, every = [], 0, running._prepare, int(sys.argv[1])
def chunk(run, tenants):
    global done
    usual(run, tenants)
    done += len(tenants)
    if not peaks and done * 10 >= every or done == every:
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
running._prepare = chunk
begun = time.perf_counter()
running.carry_out()
print(time.perf_counter() - begun, *peaks)
"""


@figure("G-b4")
def usage_month(options: Options) -> Iterator[Row]:
    """Measure the run of a month in the role of the ops worker, and the month to date as pages show it in that of the web."""
    from billing.metering.metering import record_usage
    from billing.pricing import price_books
    from billing.queries import month_to_date, span
    from tenants.isolation.scoping import tenant_scope
    from tenants.models import Project

    tenants = max(FEW, options.size(int(TENANTS * options.share), FEW))
    tenant = make_tenant("Month", "month@example.org")
    open_contract(tenant.id)
    fleet = [(uuid4(), uuid4(), f"device:{number}") for number in range(SERIES)]
    with tenant_scope(tenant.id):
        project = Project.objects.get(slug="default").id
        start = price_books.terms().lists[0].effective_at
        record_usage([interval(project, start, fleet, number) for number in range(EVENTS)])
        period = span().first
    _copy(options, tenant.id, tenants - 1)
    last, raws_of_one, to_dates = list[str](), list[str](), list[Decimal]()

    def raw() -> float:
        begun = time.perf_counter()
        last[:] = [options.superuser(RAW.format(period=period, where=""))]
        return time.perf_counter() - begun

    def raw_of_one() -> float:
        begun = time.perf_counter()
        raws_of_one.append(options.superuser(RAW.format(period=period, where=f"AND tenant_id = '{tenant.id}'")))
        return time.perf_counter() - begun

    peaks: list[int] = []

    def run() -> float:
        found = _run(options, period, tenants)
        peaks[:] = [int(value) for value in found[1:]]
        return found[0]

    def to_date() -> float:
        seconds = []
        with tenant_scope(tenant.id):
            for _ in range(LOOKS):
                begun = time.perf_counter()
                to_dates.append(month_to_date().cost.amount)
                seconds.append(time.perf_counter() - begun)
        return sorted(seconds)[LOOKS // 2]

    sides: dict[str, Callable[[], float]] = {"raw": raw, "raw of one": raw_of_one, "run": run, "to date": to_date}
    found = interleaved(options.rounds, sides)
    prepared = options.superuser(f"SELECT sum(subtotal) FROM billing_prepareddraft WHERE period = '{period}'")
    exact = options.superuser(f"SELECT sum(amount) FROM billing_usagerollup WHERE period = '{period}'")
    # A line is rounded to the cent, the sums of a tenant to nothing.
    if Decimal(exact) != Decimal(last[0]) or abs(Decimal(prepared) - Decimal(exact)) > Decimal("0.01") * tenants * 5:
        raise AssertionError(f"raw events come to {last[0]}, their sums to {exact}, the drafts to {prepared}")
    if {Decimal(raw) for raw in raws_of_one} != set(to_dates):
        raise AssertionError(f"raw events of one tenant come to {raws_of_one}, its month to date to {to_dates}")
    _remove(options, tenant.id, tenants - 1)
    connection.close()
    rollups = int(
        options.superuser("SELECT count(*) FROM billing_usagerollup WHERE tenant_id = '" + str(tenant.id) + "'")
    )
    absolute = {
        "tenants": tenants, "events": tenants * EVENTS, "run s": found["run"], "tenants/s": tenants / found["run"],
        "sums/s": tenants * rollups / found["run"], "raw ms": 1000 * found["raw"], "peak MB after a tenth": peaks[0] / 1024, "peak MB": peaks[-1] / 1024,
    }  # fmt: skip
    micros = {"month to date us": 1e6 * found["to date"], "raw of one us": 1e6 * found["raw of one"]}
    yield Row("G-b4", "drafts of a month for every tenant", found["raw"] / found["run"], 40.0, "one GROUP BY over all raw events", absolute)  # fmt: skip
    yield Row("G-b4", "memory of the run after a tenth", peaks[0] / peaks[-1], 0.9, "after all")
    yield Row("G-b4", "a tenant's month to date", 0.001 / found["to date"], 1.0, "1 ms", micros)


def _run(options: Options, period: date, tenants: int) -> list[float]:
    options.superuser("DELETE FROM billing_periodrun")
    options.superuser(
        f"INSERT INTO billing_periodrun (id, period, ordered_by) VALUES (gen_random_uuid(), '{period}', 'bench')"
    )
    command = [sys.executable, "-c", RUN, str(tenants)]
    done = subprocess.run(
        command, cwd=ROOT, env=options.environment("control"), stdout=subprocess.PIPE, text=True, check=True
    )
    if options.superuser("SELECT sum(failed) FROM billing_periodrun") != "0":
        raise AssertionError("the run failed for some tenants")
    return [float(word) for word in done.stdout.split()]


def _copy(options: Options, of: UUID, copies: int) -> None:
    statements = ["SET session_replication_role = replica"]
    for table in TABLES:
        columns = options.superuser(COLUMNS.format(table=table)).split(",")
        statements.append(
            COPY.format(
                table=table,
                columns=",".join(columns),
                values=",".join(_copied(column) for column in columns),
                copies=copies,
                tenant="id" if table == "tenants_tenant" else "tenant_id",
                of=of,
            )
        )
    options.superuser("; ".join(statements))
    options.superuser("ANALYZE")


def _copied(column: str) -> str:
    if column in IDS:
        return f"md5(t.{column}::text || n)::uuid"
    return "t.slug || '-' || n" if column == "slug" else f't."{column}"'


def _remove(options: Options, of: UUID, copies: int) -> None:
    those = f"SELECT md5('{of}' || n)::uuid FROM generate_series(1, {copies}) AS n"
    statements = ["SET session_replication_role = replica"]
    for table in ("billing_prepareddraft", *reversed(TABLES)):
        column = "id" if table == "tenants_tenant" else "tenant_id"
        statements.append(f"DELETE FROM {table} WHERE {column} IN ({those})")
    options.superuser("; ".join(statements))
