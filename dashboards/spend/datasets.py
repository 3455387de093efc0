"""The numbers of the Dash pages: reads the queries of other apps and shapes them for charts and tables."""

from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from uuid import UUID
from zoneinfo import ZoneInfo

from billing.queries import DEVICE_TIME, OTHERS, WITHHELD, meters, resource_names
from billing.queries.budgets import WHOLE, BudgetStatus, budgets
from billing.queries.calendar import today
from billing.queries.spend import (
    Filters,
    SpendRow,
    currency_of,
    span,
    spend,
    tag_names,
)
from compute.queries import counts_by_state, job_names, utilisation
from dashboards.ranges import Range, parse
from dashboards.spend.groupings import GROUPS, cuts, group_title, narrowed, value_title

ZERO = Decimal(0)
SERIES = 6
MOST_GROUPS = 100
MOST_JOBS = 50
OTHER = "other"
Names = Mapping[str, Mapping[str, str]]


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
    """Cost of one combination of values, whose `labels` and `keys` are in the order of the groups.

    `project` is named for jobs that are not cut by it. `per_1000` is of predictions, None without any.
    """

    labels: Sequence[str]
    keys: Mapping[str, str | None]
    project: str
    quantity: Decimal | None  # None for a sum over several units
    unit: str
    amount: Decimal
    per_1000: Decimal | None = None

    @property
    def label(self) -> str:
        """The row's name."""
        return " \u00b7 ".join(dict.fromkeys(self.labels))

    @property
    def job_id(self) -> str:
        """The id of the row's job; empty without one, or if the reader may not see it."""
        key = self.keys.get("job") or ""
        return "" if key == WITHHELD else key


@dataclass(frozen=True)
class Utilisation:
    """Device seconds of each hour: leased, and busy ones among them."""

    hours: Sequence[datetime] = ()
    allocated: Sequence[float] = ()
    used: Sequence[float] = ()


@dataclass(frozen=True)
class SpendPage:
    """The page's content for one range and one or two groups, narrowed to the values of `only`, which have `only_labels`."""

    range: Range
    by: Sequence[str]
    only: Mapping[str, str | None]
    only_labels: Mapping[str, str]
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
    by, only = cuts(values), narrowed(values) or {}
    shown = replace(currency_of(over, at), only=only)
    # Jobs are listed with their project.
    rows = spend(over, group_by=[*by, "project"] if by == ["job"] else by, costliest=most, filters=shown)
    jobs = [] if "job" in by else spend(over, group_by=["job", "project"], costliest=MOST_JOBS, filters=shown)
    meters_of = spend(over, group_by=list(dict.fromkeys(("meter", *only))), filters=Filters(only=only))
    names = _names([*rows, *jobs, *meters_of])
    kept = rows[: SERIES - (len(rows) > SERIES)]
    days = spend(
        over, group_by=by, granularity="day", apart=[[row.keys[name] for name in by] for row in kept], filters=shown
    )
    # A range over several months is compared with the budgets of its last one.
    month = (chosen.end - timedelta(days=1)).replace(day=1)
    known = budgets(period=month) if with_budgets else None
    whole = None if only else next((one for one in known or () if one.scope == WHOLE and one.length == "month"), None)
    return SpendPage(
        range=chosen,
        by=by,
        only=only,
        only_labels={group: _label(key, group, names) for group, key in only.items()},
        totals=_totals(meters_of, shown.currency, whole),
        daily=daily_of(_by_day(days, by, [_cost(row, by, names) for row in kept], names), chosen, whole),
        groups=ordered([_cost(row, by, names) for row in rows], values.get("sort", "")),
        jobs=ordered([_cost(row, ["job"], names) for row in jobs if row.keys["job"]], values.get("sort", "")),
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
    asked = cuts(values)  # a link may name a tag without usage on these days
    return [{"value": key, "label": str(group_title(key))} for key in dict.fromkeys((*GROUPS, *tags, *asked))]


def _by_day(
    days: Sequence[SpendRow], by: Sequence[str], kept: Sequence[CostRow], names: Names
) -> list[tuple[date, str, Decimal]]:
    """Return the daily cost of the most expensive rows, all others as one."""
    taken: dict[tuple[str | None, ...], str] = {}
    for row in kept:  # two jobs of one name are two series
        keys = tuple(row.keys[name] for name in by)
        taken[keys] = row.label if row.label not in taken.values() else f"{row.label} ({(keys[0] or '')[-8:]})"
    return [
        (row.starts, taken.get(tuple(row.keys[name] for name in by), OTHER), row.cost.amount)
        for row in days
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


def _cost(row: SpendRow, by: Sequence[str], names: Names) -> CostRow:
    return CostRow(
        labels=[_label(row.keys[name], name, names) for name in by],
        keys={name: row.keys[name] for name in by},
        project=row.project_name if "job" in by and "project" not in by else "",
        quantity=row.quantity,
        unit=row.unit,
        amount=row.cost.amount,
        per_1000=row.per_1000.amount if row.per_1000 else None,
    )


def _label(key: str | None, group: str, names: Names) -> str:
    return names.get(group, {}).get(key or "") or value_title(group, key)


def _names(rows: Sequence[SpendRow]) -> Names:
    """Return the display names of the keys of rows, by group; those of each kind are looked up once."""
    keys: dict[str, set[str]] = {}
    names: dict[str, dict[str, str]] = {}
    for row in rows:
        for group, key in row.keys.items():
            if key and key not in (WITHHELD, OTHERS):
                keys.setdefault(group, set()).add(key)
            if key and group in row.names:
                names.setdefault(group, {})[key] = row.names[group]
            if key and group == "project":
                names.setdefault(group, {})[key] = row.project_name
    if "meter" in keys:
        names["meter"] = {meter.key: meter.title for meter in meters()}
    if "job" in keys:
        names["job"] = {str(found): name for found, name in job_names(map(UUID, keys["job"])).items()}
    if "resource" in keys:
        names["resource"] = dict(resource_names(keys["resource"]))
    return names


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
