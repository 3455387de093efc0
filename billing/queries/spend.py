"""Sums of usage and cost over roll-ups: by time, project, meter, resource, job and tag."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing import resource_names
from billing.defaults import DEVICE_TIME, INFERENCE_REQUESTS
from billing.forecast import at_end
from billing.money import Money
from billing.queries.calendar import Today, tenant_currencies, tenant_today
from billing.rating.calendar import hour_of, local_day, next_period, period_of
from billing.rating.currencies import column
from billing.usage import owners
from billing.usage.groups import GROUPS, Grouping
from tenants.errors import Invalid
from tenants.isolation.scoping import current_tenant_id
from tenants.parsing import EARLIEST, LATEST
from tenants.projects.sight import closed_ids, unnamed_ids
from tenants.rows import named_rows, prepared_cursor

#: What a statement sums: its days, and its hours if the range was given as instants.
USED = """r.tenant_id = %(tenant)s AND r.day >= %(first)s AND r.day < %(end)s
AND (%(since)s::timestamptz IS NULL OR r.hour >= %(since)s) AND (%(until)s::timestamptz IS NULL OR r.hour < %(until)s)"""
#: The key of what is summed together beside the values that are kept apart.
OTHERS = "(all others)"
GRANULARITIES = {"hour": "r.hour", "day": "r.day", "month": "date_trunc('month', r.day)::date", "": "NULL::date"}
MOST_ROWS = 10_000
MOST_GROUPS = 8
MOST_TAGS_OFFERED = 30
# One statement, which finds the tenant's day, too. The day decides what is read, so it comes first.
TO_DATE = """
SELECT billing_currency(t.id, t.day) AS currency, billing_currency(t.id, p.first - 1) AS currency_before, t.day, s.* FROM (
  SELECT id, (exchequer_now() AT TIME ZONE timezone)::date AS day FROM tenants_tenant WHERE id = %(tenant)s::uuid OFFSET 0
) t CROSS JOIN LATERAL (SELECT date_trunc('month', t.day)::date AS first OFFSET 0) p
CROSS JOIN LATERAL (
  SELECT coalesce(sum(r.amount) FILTER (WHERE r.day >= p.first), 0) AS cost,
    coalesce(sum(r.billable) FILTER (WHERE r.day >= p.first AND r.meter_id = ANY (timed.ids)), 0) AS quantity,
    coalesce(sum(r.amount) FILTER (WHERE r.day < p.first), 0) AS previous,
    coalesce(sum(r.amount) FILTER (WHERE r.day < p.first AND r.day <= (t.day - interval '1 month')::date), 0) AS previous_to_date,
    coalesce(sum(r.billable) FILTER (WHERE r.day < p.first AND r.meter_id = ANY (timed.ids)), 0) AS previous_quantity,
    coalesce(sum(r.amount) FILTER (WHERE r.day = t.day), 0) AS of_today
  FROM (SELECT ARRAY(SELECT id FROM billing_meter WHERE tenant_id = %(tenant)s::uuid AND key = ANY (%(timed)s::text[])) AS ids OFFSET 0) timed
  CROSS JOIN billing_usagerollup r
  WHERE r.tenant_id = %(tenant)s::uuid AND r.day >= (p.first - interval '1 month')::date AND r.day < (p.first + interval '1 month')::date
) s
"""
ONE_UNIT = "CASE WHEN min(m.unit) = max(m.unit) THEN max(m.unit) ELSE '' END"


@dataclass(frozen=True, slots=True)
class Span:
    """A half-open range of local days, and of UTC hours inside it if the range was given as instants."""

    first: date
    end: date
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class SpendRow:
    """A sum. `keys` holds the value of each group; `starts` is an hour, a local day, a month or None for the whole range.

    `quantity` is what is charged, in `unit`; `measured` what ran. Seconds and requests do not add up: if a sum covers
    meters of several units, both are None and the unit is empty.
    """

    keys: Mapping[str, str | None]
    starts: date | datetime | None
    quantity: Decimal | None
    measured: Decimal | None
    cost: Money
    project_name: str = ""
    unit: str = ""
    predictions: Decimal = Decimal(0)
    #: The names of owners, such as a person, by group.
    names: Mapping[str, str] = field(default_factory=dict)

    @property
    def per_1000(self) -> Money | None:
        """The cost of a thousand predictions; None without any."""
        return self.cost * (Decimal(1000) / self.predictions) if self.predictions else None


@dataclass(frozen=True, slots=True)
class Filters:
    """Filters on usage; None keeps all. `currency`: only usage of days in it. `only`: one value of each of these groups."""

    project_id: UUID | None = None
    job_id: UUID | None = None
    meter: str | None = None
    currency: str = ""
    only: Mapping[str, str | None] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MonthToDate:
    """Cost of the running local month, compared with the whole previous month; `forecast` is at the current pace.

    Quantities are seconds of devices; other usage has only its cost here. The month before may be in another currency;
    `previous_to_date` is its cost up to the same day, or up to its end if it is shorter.
    """

    period: date
    cost: Money
    quantity: Decimal
    previous: Money
    previous_to_date: Money
    previous_quantity: Decimal
    forecast: Money
    elapsed_percent: int
    today: Money


def span(start: date | datetime | None = None, end: date | datetime | None = None, at: Today | None = None) -> Span:
    """Return the range from local days (`[start, end)`) or instants, cut to whole hours; default: the running month.

    Raises Invalid for an empty range, one of more than ten years or one outside representable time.
    """
    at = at or tenant_today()
    for name, day in (("from", start), ("to", end)):
        if day is not None and not isinstance(day, datetime) and not EARLIEST.date() <= day < LATEST.date():
            raise Invalid(fields={name: [f"Give a day from {EARLIEST.year} to {LATEST.year - 1}."]})
    since, until = (moment if isinstance(moment, datetime) else None for moment in (start, end))
    if any(moment is not None and moment.utcoffset() is None for moment in (since, until)):
        raise Invalid(fields={"from": ["Give times with their offset."]})
    first = local_day(since, at.zone) if since else start or at.period
    if until:
        last = local_day(until, at.zone) + timedelta(days=1)
    else:
        last = end or (next_period(first) if start else next_period(at.period))
    if not first < last or last - first > timedelta(days=3660):
        raise Invalid(fields={"to": ["Give an end after the start, within ten years."]})
    return Span(first, last, hour_of(since) if since else None, until)


def spend(
    over: Span,
    *,
    group_by: Sequence[str] = (),
    granularity: str = "",
    filters: Filters | None = None,
    costliest: int | None = None,
    apart: Sequence[Sequence[str | None]] | None = None,
) -> list[SpendRow]:
    """Return sums over a range, oldest first, `MOST_ROWS` + 1 at most; or only the `costliest` so many, they first.

    Groups: project, meter, resource, job, attempt, person, model, tag:NAME, dim:NAME. Values hidden from the reader are merged
    as `resource_names.WITHHELD`. With `apart`, all but these combinations of values are summed as one, with every key `OTHERS`.
    Where the range has days in several currencies, there is a row for each. Raises Invalid for another group or granularity.
    """
    filters = filters or Filters()
    arguments: dict[str, Any] = {
        "tenant": current_tenant_id(),
        "first": over.first,
        "end": over.end,
        "since": over.since,
        "until": over.until,
        "project_id": filters.project_id,
        "job_id": filters.job_id,
        "meter": filters.meter,
        "currency": filters.currency,
        "limit": costliest or MOST_ROWS + 1,
        "apart": [json.dumps(keys) for keys in apart or ()],
        "others": OTHERS,
        "predicted": INFERENCE_REQUESTS,
    }
    if len(group_by) > MOST_GROUPS:
        raise Invalid(fields={"group_by": [f"Name at most {MOST_GROUPS} groups."]})
    paid_in = column(tenant_currencies().within(over.first, over.end), "r.day", arguments)
    groups = Grouping(arguments, USED)
    columns = [_group(groups, name) for name in group_by]
    only = "".join(
        f"AND {_group(groups, name)} IS NOT DISTINCT FROM {groups.argument(value)}::text "
        for name, value in filters.only.items()
    )
    if apart is not None and columns:
        kept = f"jsonb_build_array({', '.join(columns)}) = ANY(%(apart)s::jsonb[])"
        columns = [f"CASE WHEN {kept} THEN {one} ELSE %(others)s::text END" for one in columns]
    if granularity not in GRANULARITIES:
        raise Invalid(fields={"granularity": ["Choose hour, day or month."]})
    starts, keys = GRANULARITIES[granularity], [f"key_{number}" for number in range(len(columns))]
    named = f"max({groups.masked('p.name')})" if "project" in group_by else "''"
    selected = [f"{starts} AS starts", *map("{} AS {}".format, columns, keys), f"{paid_in} AS currency"]
    grouped = ", ".join(map(str, range(1, len(selected) + 1)))
    selected += [f"{named} AS project_name"]
    order = f"{len(selected) + 4} DESC, {grouped}" if costliest is not None else grouped
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT {', '.join(selected)}, {ONE_UNIT} AS unit, "  # noqa: S608
            "sum(r.billable) AS billable, sum(r.measured) AS measured, sum(r.amount) AS amount, "
            "coalesce(sum(r.measured) FILTER (WHERE m.key = %(predicted)s), 0) AS predictions "
            "FROM billing_usagerollup r "
            "JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash "
            "JOIN billing_meter m ON m.tenant_id = r.tenant_id AND m.id = r.meter_id "
            "JOIN tenants_project p ON p.tenant_id = r.tenant_id AND p.id = r.project_id "
            f"WHERE {USED} {only}"
            f"AND (%(currency)s::text = '' OR {paid_in} = %(currency)s) "
            # What a filter picks out is usage that the reader may see by itself.
            "AND (%(project_id)s::uuid IS NULL AND %(job_id)s::uuid IS NULL OR r.project_id <> ALL(%(unnamed)s::uuid[])) "
            "AND (%(project_id)s::uuid IS NULL OR r.project_id = %(project_id)s) AND (%(job_id)s::uuid IS NULL OR s.job_id = %(job_id)s) "
            "AND (%(meter)s::text IS NULL OR m.key = %(meter)s) "
            f"GROUP BY {grouped} ORDER BY {order} LIMIT %(limit)s",
            arguments,
        )
        rows = named_rows(cursor)
    return [
        SpendRow(
            keys={name: getattr(row, key) for name, key in zip(group_by, keys, strict=True)},
            starts=row.starts,
            project_name=row.project_name,
            unit=row.unit,
            quantity=row.billable if row.unit else None,
            measured=row.measured if row.unit else None,
            cost=Money(row.amount, row.currency),
            predictions=row.predictions,
            names={
                name: owned[key]
                for name, owned in groups.names.items()
                if name in group_by and (key := getattr(row, f"key_{group_by.index(name)}")) in owned
            },
        )
        for row in rows
    ]


def _group(groups: Grouping, name: str) -> str:
    if (expression := groups.expression(name)) is None:
        known = ", ".join([*GROUPS, *owners.dimensions()])
        raise Invalid(fields={"group_by": [f"{name[:60]} is none of {known}, tag:NAME, dim:NAME."]})
    return expression


def tag_names(over: Span) -> list[str]:
    """Return the names of the tags of usage on these days that the reader may see, at most `MOST_TAGS_OFFERED`."""
    with connection.cursor() as cursor:
        cursor.execute(
            # From the days to their series: what was used before them is not read.
            "SELECT DISTINCT substr(k.key, 5) FROM (SELECT DISTINCT r.tenant_id, r.series_hash FROM billing_usagerollup r "
            "WHERE r.tenant_id = %s AND r.day >= %s AND r.day < %s AND r.project_id <> ALL(%s::uuid[]) OFFSET 0) used "
            "CROSS JOIN LATERAL (SELECT dims, job_id FROM billing_usageseries WHERE tenant_id = used.tenant_id "
            "AND hash = used.series_hash OFFSET 0) s "
            "CROSS JOIN LATERAL jsonb_object_keys(s.dims) k(key) WHERE k.key LIKE 'tag:%%' "
            "AND (s.job_id IS NULL OR s.job_id <> ALL(%s::uuid[])) ORDER BY 1 LIMIT %s",
            [
                current_tenant_id(),
                over.first,
                over.end,
                sorted(unnamed_ids() | closed_ids("jobs.view")),
                resource_names.withheld(resource_names.JOB),
                MOST_TAGS_OFFERED,
            ],
        )
        return [name for (name,) in cursor.fetchall()]


def currency_of(over: Span, at: Today) -> Filters:
    """Return the filter of the currency that a page shows a range in: that of its last day, or of today."""
    return Filters(currency=at.currencies.of(min(over.end - timedelta(days=1), at.day)))


def cost_by_day_and_project(over: Span) -> list[SpendRow]:
    """Return the cost of each project on each local day, for the stacked chart, in the currency of its last day."""
    return spend(over, group_by=["project"], granularity="day", filters=currency_of(over, tenant_today()))


def month_to_date() -> MonthToDate:
    """Return the running month's cost so far, today's share, last month's total and a linear forecast."""
    with prepared_cursor() as cursor:
        cursor.execute(TO_DATE, {"tenant": current_tenant_id(), "timed": list(DEVICE_TIME)})
        (row,) = named_rows(cursor)
    period = period_of(row.day)
    length, elapsed = (next_period(period) - period).days, (row.day - period).days + 1
    cost = Money(row.cost, row.currency)
    return MonthToDate(
        period=period,
        cost=cost,
        quantity=row.quantity,
        previous=Money(row.previous, row.currency_before),
        previous_to_date=Money(row.previous_to_date, row.currency_before),
        previous_quantity=row.previous_quantity,
        forecast=at_end(cost, period, "month", row.day),
        elapsed_percent=elapsed * 100 // length,
        today=Money(row.of_today, row.currency),
    )
