"""The numbers of the Dash pages: reads the queries of other rooms and shapes them for charts and tables."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal

from dashboards.ranges import Range, parse
from tenants.clock import now

ZERO = Decimal(0)
SERIES = 6


@dataclass(frozen=True)
class Totals:
    """What the range holds in all. Seconds are device seconds: measured = billable + excluded."""

    amount: Decimal = ZERO
    currency: str = "EUR"
    billable_s: Decimal = ZERO
    measured_s: Decimal = ZERO
    excluded_s: Decimal = ZERO
    budget: Decimal | None = None
    budget_spent: Decimal = ZERO


@dataclass(frozen=True)
class Daily:
    """Cost of each day by group; at most six series, the rest summed as `other`."""

    days: Sequence[date] = ()
    series: dict[str, list[Decimal]] = field(default_factory=dict)
    budget_per_day: Decimal | None = None


@dataclass(frozen=True)
class CostRow:
    """What one group cost. `job_id` is set when the group is a job."""

    label: str
    project: str
    quantity: Decimal
    unit: str
    amount: Decimal
    job_id: str = ""


@dataclass(frozen=True)
class Utilisation:
    """Device seconds of each hour: leased, and of those busy."""

    hours: Sequence[datetime] = ()
    allocated: Sequence[float] = ()
    used: Sequence[float] = ()


@dataclass(frozen=True)
class SpendPage:
    """All that the page shows for one range and one grouping."""

    range: Range
    group: str
    totals: Totals
    daily: Daily
    groups: Sequence[CostRow]
    jobs: Sequence[CostRow]
    utilisation: Utilisation
    running: int = 0


def spend_page(values: dict[str, str]) -> SpendPage:
    """Return all that the page `Spend and utilisation` shows for a query string."""
    span = parse(values, now())
    return SpendPage(range=span, group=values.get("group", "project"), totals=Totals(), daily=Daily(), groups=(), jobs=(), utilisation=Utilisation())


def export(table: str, values: dict[str, str]) -> tuple[Sequence[str], list[Sequence[object]]] | None:
    """Return header and rows of one of the page's tables; None for one there is not."""
    page = spend_page(values)
    if table == "daily":
        names = list(page.daily.series)
        return ["day", *names], [[day, *(page.daily.series[name][n] for name in names)] for n, day in enumerate(page.daily.days)]
    if table in ("groups", "jobs"):
        rows = page.groups if table == "groups" else page.jobs
        return ["name", "project", "quantity", "unit", "amount", "currency", "job"], [
            [row.label, row.project, row.quantity, row.unit, row.amount, page.totals.currency, row.job_id] for row in rows
        ]
    if table == "utilisation":
        data = page.utilisation
        return ["hour", "allocated_s", "busy_s"], [list(row) for row in zip(data.hours, data.allocated, data.used, strict=True)]
    return None
