"""The numbers of the Dash pages: reads the queries of other apps and shapes them for charts and tables."""

from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from billing.queries import DEVICE_TIME, WITHHELD, meters, resource_names
from billing.queries.budgets import WHOLE, BudgetStatus, budgets
from billing.queries.calendar import today
from billing.queries.spend import (
    MOST_ROWS,
    Span,
    SpendRow,
    cost_by_day,
    costliest_jobs,
    currency_of,
    span,
    spend,
    tag_names,
)
from compute.queries import counts_by_state, job_names, utilisation
from dashboards.ranges import Range, parse
from dashboards.spend.groupings import GROUPS, group_title, value_title

ZERO = Decimal(0)
SERIES = 6
MOST_GROUPS = 100
MOST_JOBS = 50
OTHER = "other"


@dataclass(frozen=True)
class Totals:
    """Totals of the range. Seconds are device seconds: measured = billable + excluded; `amount` is everything.

    `others`: what was spent in currencies before a contract changed them, which charts and tables leave out.
    """

    amount: Decimal = ZERO
    currency: str = "EUR"
    billable_s: Decimal = ZERO
    measured_s: Decimal = ZERO
    excluded_s: Decimal = ZERO
    budget: Decimal | None = None
    budget_spent: Decimal = ZERO
    others: Sequence[tuple[str, Decimal]] = ()


@dataclass(frozen=True)
class Daily:
    """Cost of each day by group; at most six series, the rest summed as `other`."""

    days: Sequence[date] = ()
    series: dict[str, list[Decimal]] = field(default_factory=dict)
    budget_per_day: Decimal | None = None


@dataclass(frozen=True)
class CostRow:
    """Cost of one group. `job_id` is set if the group is a job."""

    label: str
    project: str
    quantity: Decimal | None  # None for a sum over several units
    unit: str
    amount: Decimal
    job_id: str = ""


@dataclass(frozen=True)
class Utilisation:
    """Device seconds of each hour: leased, and busy ones among them."""

    hours: Sequence[datetime] = ()
    allocated: Sequence[float] = ()
    used: Sequence[float] = ()


@dataclass(frozen=True)
class SpendPage:
    """The page's content for one range and one grouping."""

    range: Range
    group: str
    totals: Totals
    daily: Daily
    groups: Sequence[CostRow]
    jobs: Sequence[CostRow]
    utilisation: Utilisation
    budgets: Sequence[BudgetStatus] | None = ()  # None: the reader may not see them
    running: int = 0
    zone: str = "UTC"
    month: date | None = None  # the month of the budgets


def spend_page(values: Mapping[str, str], most: int = MOST_GROUPS, *, with_budgets: bool = True) -> SpendPage:
    """Return the content of the page `Spend and utilisation` for a query string, in a fixed number of queries.

    `with_budgets`: whether the reader may see budgets.
    """
    at = today()
    chosen = parse(values, at.day)
    over = span(chosen.first, chosen.end, at)
    group, shown = values.get("group", "project"), currency_of(over, at)
    grouped = [group] if group != "job" else ["job", "project"]
    by_group = spend(over, group_by=grouped, costliest=most, filters=shown)
    dearest = costliest_jobs(over, MOST_JOBS)
    names = _names(by_group, group)
    jobs_named = _names(dearest, "job")
    # A range over several months is compared with the budgets of its last one.
    month = (chosen.end - timedelta(days=1)).replace(day=1)
    known = budgets(period=month) if with_budgets else None
    budget = next((one for one in known or () if one.scope == WHOLE and one.length == "month"), None)
    return SpendPage(
        range=chosen,
        group=group,
        totals=_totals(spend(over, group_by=["meter"]), shown.currency, budget),
        daily=daily_of(_by_day(over, group, by_group, names), chosen, budget),
        groups=ordered([_cost(row, group, names) for row in by_group], values.get("sort", "")),
        jobs=ordered([_cost(row, "job", jobs_named) for row in dearest if row.keys.get("job")], values.get("sort", "")),
        utilisation=_utilisation(chosen, at.zone),
        budgets=known,
        running=counts_by_state()["running"],
        zone=at.zone,
        month=month,
    )


def groupings(values: Mapping[str, str]) -> list[dict[str, str]]:
    """Return the groupings of a range as choices, including the tags of its usage."""
    at = today()
    chosen = parse(values, at.day)
    tags = {f"tag:{name}": "" for name in tag_names(span(chosen.first, chosen.end, at))}
    asked = values.get("group", "")  # a link may name a tag without usage on these days
    return [{"value": key, "label": str(group_title(key))} for key in dict.fromkeys((*GROUPS, *tags, asked)) if key]


def _by_day(
    over: Span, group: str, rows: Sequence[SpendRow], names: Mapping[str, str]
) -> list[tuple[date, str, Decimal]]:
    """Return the daily cost of the most expensive groups, all others as one."""
    series: dict[str, str] = {}
    for row in rows:
        key = row.keys.get(group)
        if key and key not in series and len(series) < SERIES - (len(rows) > SERIES):
            series[key] = row.project_name if group == "project" else _label(key, group, names)
    taken: dict[str, str] = {}
    for key, label in series.items():  # two jobs of one name are two series
        taken[key] = label if label not in taken.values() else f"{label} ({key[-8:]})"
    # If no group is left over, the rest is what has no value, and is named as in the table.
    left_over = any(key not in series for row in rows if (key := row.keys.get(group)))
    rest = OTHER if left_over else value_title(group, None)
    return [
        (row.starts, taken.get(row.keys[group] or "", rest), row.cost.amount)
        for row in cost_by_day(over, group, list(taken))
        if isinstance(row.starts, date)
    ]


def ordered(rows: list[CostRow], sort: str) -> list[CostRow]:
    """Return rows by name, or by quantity, the largest first; otherwise as they come, the most expensive first."""
    if sort == "name":
        return sorted(rows, key=lambda row: row.label.casefold())
    if sort == "quantity":
        return sorted(rows, key=lambda row: -1 if row.quantity is None else row.quantity, reverse=True)
    return rows


def _totals(rows: Sequence[SpendRow], currency: str, budget: BudgetStatus | None) -> Totals:
    """Return totals in one currency, with the seconds of all days; what is spent in others stands beside."""
    timed = [row for row in rows if row.keys["meter"] in DEVICE_TIME]
    others: dict[str, Decimal] = {}
    for row in rows:
        if row.cost.currency != currency and row.cost:
            others[row.cost.currency] = others.get(row.cost.currency, ZERO) + row.cost.amount
    billable = sum((row.quantity or ZERO for row in timed), ZERO)
    measured = sum((row.measured or ZERO for row in timed), ZERO)
    return Totals(
        amount=sum((row.cost.amount for row in rows if row.cost.currency == currency), ZERO),
        currency=currency,
        others=sorted(others.items()),
        billable_s=billable,
        measured_s=measured,
        excluded_s=measured - billable,
        budget=budget.limit.amount if budget else None,
        budget_spent=budget.spent.amount if budget else ZERO,
    )


def daily_of(costs: Sequence[tuple[date, str, Decimal]], chosen: Range, budget: BudgetStatus | None) -> Daily:
    """Return a series for each of the most expensive labels and one for all the others."""
    sums: dict[str, Decimal] = {}
    for _, label, amount in costs:
        sums[label] = sums.get(label, ZERO) + amount
    dearest = sorted(sums, key=lambda label: (label != OTHER, sums[label]), reverse=True)
    shown = dearest if len(dearest) <= SERIES else [label for label in dearest if label != OTHER][: SERIES - 1]
    days = chosen.days
    place = {day: number for number, day in enumerate(days)}
    series = {label: [ZERO] * len(days) for label in shown}
    for day, label, amount in costs:
        values = series.setdefault(label if label in series else OTHER, [ZERO] * len(days))
        if day in place:
            values[place[day]] += amount
    last = chosen.end - timedelta(days=1)
    length = monthrange(last.year, last.month)[1]
    return Daily(days, series, budget.limit.amount / length if budget else None)


def by_project(rows: Sequence[SpendRow]) -> list[tuple[date, str, Decimal]]:
    """Return rows by day and project in the chart's form."""
    return [(row.starts, row.project_name, row.cost.amount) for row in rows if isinstance(row.starts, date)]


def _cost(row: SpendRow, group: str, names: Mapping[str, str]) -> CostRow:
    key = row.keys.get(group)
    job = (
        ""
        if key == WITHHELD
        else key
        if group == "job"
        else key.removeprefix("job:")
        if key and key.startswith("job:")
        else ""
    )
    return CostRow(
        label=row.project_name if group == "project" else _label(key, group, names),
        project=row.project_name if group == "job" else "",
        quantity=row.quantity,
        unit=row.unit,
        amount=row.cost.amount,
        job_id=job or "",
    )


def _label(key: str | None, group: str, names: Mapping[str, str]) -> str:
    return names.get(key or "") or value_title(group, key)


def _names(rows: Sequence[SpendRow], group: str) -> Mapping[str, str]:
    """Return the display names of a grouping's keys, looked up once."""
    keys = [key for row in rows if (key := row.keys.get(group))]
    if group == "meter":
        return {meter.key: meter.title for meter in meters()}
    if group == "job":
        return {str(found): name for found, name in job_names(map(UUID, {*keys} - {WITHHELD})).items()}
    return resource_names(keys) if group == "resource" else {}


def _utilisation(chosen: Range, zone: str) -> Utilisation:
    """Return device seconds by hour, from the first hour with a lease to the last."""
    start, end = (datetime.combine(day, time(), tzinfo=ZoneInfo(zone)) for day in (chosen.first, chosen.end))
    rows = [
        (datetime.fromisoformat(row.group["hour"]).astimezone(ZoneInfo(zone)), row.allocated_s, row.used_s)
        for row in utilisation(start, end, ["hour"])
    ]
    leased = [number for number, (_, allocated_s, _) in enumerate(rows) if allocated_s]
    if not leased:
        return Utilisation()
    hours, allocated, used = zip(*rows[leased[0] : leased[-1] + 1], strict=True)
    return Utilisation(list(hours), list(allocated), list(used))


def export(table: str, values: Mapping[str, str]) -> tuple[Sequence[str], list[Sequence[object]]] | None:
    """Return header and rows of one of the page's tables; None for an unknown one."""
    page = spend_page(values, MOST_ROWS)  # an export is not cut as a page is
    if table == "daily":
        names = list(page.daily.series)
        return ["day", *names], [
            [day, *(page.daily.series[name][n] for name in names)] for n, day in enumerate(page.daily.days)
        ]
    if table in ("groups", "jobs"):
        rows = page.groups if table == "groups" else page.jobs
        return ["name", "project", "quantity", "unit", "amount", "currency", "job"], [
            [row.label, row.project, row.quantity, row.unit, row.amount, page.totals.currency, row.job_id]
            for row in rows
        ]
    if table == "utilisation":
        data = page.utilisation
        return ["hour", "allocated_s", "busy_s"], [
            list(row) for row in zip(data.hours, data.allocated, data.used, strict=True)
        ]
    return None
