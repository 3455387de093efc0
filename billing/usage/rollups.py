"""Usage segments and their hourly sums, stored by one statement in the transaction that accepts them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from operator import attrgetter
from typing import Any
from uuid import UUID

from billing.pg_arrays import array, bytea, few, hashes, instants, iso, quoted, uuid
from billing.rating.calendar import period_bounds, period_of
from billing.rating.flat import charge
from billing.rating.quantity import seconds_delta, seconds_of
from billing.usage.intervals import Series
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import prepared_cursor

#: Measured and billable units, amount and discount.
Rated = tuple[Decimal, Decimal, Decimal, Decimal]
NOTHING = Decimal(0)
#: The second half of a segment has the number of the first and this: an event has fewer parts.
CUT = 1_000


class Tariff:
    """A contracted unit price, and the list price if that differs. What a quantity costs is computed once.

    `price_id` is None without a price; `rate_id` is the exchange rate that converted it.
    """

    def __init__(
        self,
        unit_amount: Decimal = Decimal(0),
        list_amount: Decimal | None = None,
        price_id: UUID | None = None,
        rate_id: UUID | None = None,
    ) -> None:
        self.price_id, self.rate_id = price_id, rate_id
        self.unit_amount = unit_amount
        self._list_amount = list_amount
        self._costs: dict[Decimal, tuple[Decimal, Decimal]] = {}
        #: What was found by `lasting`.
        self.of_spans: dict[timedelta, Rated] = {}

    def cost(self, units: Decimal) -> tuple[Decimal, Decimal]:
        """Return the amount of so many units, and what the list price would add. Both have twelve decimals."""
        found = self._costs.get(units)
        if found is None:
            amount = charge(units, self.unit_amount)
            discount = Decimal(0) if self._list_amount is None else charge(units, self._list_amount) - amount
            found = self._costs[units] = (amount, discount)
        return found

    def rated(self, units: Decimal) -> Rated:
        """Return the measures of a segment of so many units; without a price it is measured and free."""
        if self.price_id is None:
            return units, NOTHING, NOTHING, NOTHING
        return units, units, *self.cost(units)

    def lasting(self, span: timedelta) -> Rated:
        """Return the same of so much time, in seconds."""
        found = self.of_spans.get(span)
        if found is None:
            found = self.of_spans[span] = self.rated(seconds_of(span))
        return found


@dataclass(slots=True)
class Place:
    """What the segments of a series have in common that one hourly sum counts at one price; found once for all of them.

    `price_id` is None without a price, `rate_id` if no exchange rate converted it. `counted`: units are counts, which are not cut in time.
    `currency` is that of its day.
    """

    series: bytes
    hour: datetime
    day: date
    period: date
    meter_id: UUID
    project_id: UUID
    price_id: UUID | None
    rate_id: UUID | None = None
    tariff: Tariff = field(default_factory=Tariff)
    counted: bool = False
    currency: str = ""


@dataclass(slots=True)
class Segment:
    """A part of an interval inside one quarter hour and one price. Amounts have twelve decimals."""

    place: Place
    key_hash: bytes
    part: int
    start: datetime
    end: datetime
    measured: Decimal
    billable: Decimal = Decimal(0)
    amount: Decimal = Decimal(0)
    discount: Decimal = Decimal(0)
    hold_id: UUID | None = None
    batch_id: UUID | None = None
    kind: str = "usage"

    def cut(self, units: Decimal) -> Segment:
        """Keep so many of its units and return the rest, which no hold pays, as a segment of its own."""
        rest = replace(self, part=self.part + CUT, hold_id=None, measured=self.measured - units)
        if not self.place.counted:
            rest.start = self.end = self.start + seconds_delta(units)
        self.measured = units
        rest.bill(self.billable - units)
        self.bill(units)
        return rest

    @property
    def series(self) -> bytes:
        """The hash of its series."""
        return self.place.series

    @property
    def project_id(self) -> UUID:
        """Its project."""
        return self.place.project_id

    @property
    def currency(self) -> str:
        """The currency of its amount, which is that of its day."""
        return self.place.currency

    @property
    def day(self) -> date:
        """Its day in the tenant's zone."""
        return self.place.day

    @property
    def month(self) -> date:
        """The month of its day, whose budgets pay for it. Its place's period is later if that month was closed."""
        return period_of(self.place.day)

    def bill(self, units: Decimal) -> None:
        """Charge this many of its units."""
        self.billable = units
        self.amount, self.discount = self.place.tariff.cost(units)


# In the order of the index, whose pages are then touched one after the other. The time of recording is one for the statement: as the column's default it would be asked for each row. A trigger checks it.
SEGMENTS = """
place AS MATERIALIZED (
  SELECT * FROM unnest(
    %(series)s::bytea[], %(hour)s::timestamptz[], %(day)s::date[], %(period)s::date[], %(meter_id)s::uuid[], %(project_id)s::uuid[],
    %(price_id)s::uuid[], %(rate_id)s::uuid[]
  ) WITH ORDINALITY AS p(series_hash, hour, day, period, meter_id, project_id, price_id, rate_id, place)
), segment AS MATERIALIZED (
  SELECT * FROM unnest(
    %(place)s::bigint[], %(key_hash)s::bytea[], %(part)s::smallint[], %(start)s::timestamptz[], %(end)s::timestamptz[],
    %(hold_id)s::uuid[], %(kind)s::text[], %(measured)s::numeric[], %(billable)s::numeric[], %(amount)s::numeric[],
    %(discount)s::numeric[], %(batch_id)s::uuid[]
  ) AS s(place, key_hash, part, started_at, ended_at, hold_id, kind, measured, billable, amount, discount, batch_id)
), event AS (
  INSERT INTO billing_usageevent (tenant_id, series_hash, started_at, key_hash, part, ended_at, kind, period, day,
    meter_id, project_id, price_id, rate_id, hold_id, measured, billable, amount, discount, batch_id, recorded_at)
  SELECT %(tenant)s, series_hash, started_at, key_hash, part, ended_at, kind, period, day,
    meter_id, project_id, price_id, rate_id, hold_id, measured, billable, amount, discount, batch_id, (SELECT exchequer_now())
  FROM segment JOIN place USING (place) ORDER BY series_hash, started_at
  RETURNING 1
)
"""
#: Stores the segments before the first hourly sum is locked: until the commit, requests that add to the same sums wait for it.
STORED = "(SELECT count(*) FROM event) >= 0"
WRITE = f"""
WITH {SEGMENTS}, series AS (
  INSERT INTO billing_usageseries (tenant_id, hash, resource, job_id, attempt_id, source, dims)
  SELECT %(tenant)s, s.* FROM unnest(
    %(s_hash)s::bytea[], %(s_resource)s::text[], %(s_job)s::uuid[], %(s_attempt)s::uuid[], %(s_source)s::text[], %(s_dims)s::jsonb[]
  ) AS s(hash, resource, job_id, attempt_id, source, dims) ORDER BY s.hash ON CONFLICT DO NOTHING
), bill AS (
  INSERT INTO billing_invoice (id, tenant_id, period, starts_at, ends_at, currency)
  SELECT gen_random_uuid(), %(tenant)s, i.*
  FROM unnest(%(i_period)s::date[], %(i_start)s::timestamptz[], %(i_end)s::timestamptz[], %(i_currency)s::text[]) AS i ORDER BY 2, 3, 6
  ON CONFLICT DO NOTHING
), month AS (
  INSERT INTO billing_billingperiod (id, tenant_id, period, starts_at, ends_at)
  SELECT gen_random_uuid(), %(tenant)s, i.*
  FROM unnest(%(i_period)s::date[], %(i_start)s::timestamptz[], %(i_end)s::timestamptz[]) AS i ORDER BY 2, 3
  ON CONFLICT DO NOTHING
)
INSERT INTO billing_usagerollup AS r (id, tenant_id, period, day, hour, price_id, rate_id, meter_id, project_id, series_hash,
  events, measured, billable, amount, discount)
SELECT gen_random_uuid(), %(tenant)s, period, day, hour, price_id, rate_id, meter_id, project_id, series_hash,
  sum(events), sum(measured), sum(billable), sum(amount), sum(discount)
FROM place JOIN (
  SELECT place, count(*) AS events, sum(measured) AS measured, sum(billable) AS billable, sum(amount) AS amount, sum(discount) AS discount
  FROM segment GROUP BY place
) AS s USING (place)
WHERE {STORED}
GROUP BY period, day, hour, price_id, rate_id, meter_id, project_id, series_hash
ORDER BY series_hash, hour, day, period, project_id, meter_id, price_id, rate_id
ON CONFLICT (tenant_id, series_hash, hour, day, period, project_id, meter_id, price_id, rate_id) DO UPDATE SET
  events = r.events + excluded.events, measured = r.measured + excluded.measured,
  billable = r.billable + excluded.billable, amount = r.amount + excluded.amount, discount = r.discount + excluded.discount
"""  # noqa: S608
REVERSE = f"""
WITH {SEGMENTS}
UPDATE billing_usagerollup r SET events = r.events + w.events, measured = r.measured + w.measured,
  billable = r.billable + w.billable, amount = r.amount + w.amount, discount = r.discount + w.discount
FROM (
  SELECT id, count(*) AS events, sum(measured) AS measured, sum(billable) AS billable, sum(amount) AS amount, sum(discount) AS discount
  FROM unnest(%(rollups)s::uuid[], %(measured)s::numeric[], %(billable)s::numeric[], %(amount)s::numeric[], %(discount)s::numeric[])
    AS t(id, measured, billable, amount, discount) GROUP BY id
) w
WHERE r.tenant_id = %(tenant)s AND r.id = w.id AND {STORED}
"""  # noqa: S608
OF_PLACES: dict[str, Callable[[Any], str]] = {
    "series": bytea,
    **dict.fromkeys(("hour", "day", "period"), iso),
    **dict.fromkeys(("meter_id", "project_id", "price_id", "rate_id"), uuid),
}
OF_SEGMENTS: dict[str, Callable[[Sequence[Any]], Any]] = {
    "key_hash": hashes,
    **dict.fromkeys(("start", "end"), instants),
    # Most of these repeat: the tariff keeps what a quantity costs.
    **dict.fromkeys(("part", "measured", "billable", "amount", "discount", "kind"), partial(few, write=str)),
    **dict.fromkeys(("hold_id", "batch_id"), partial(few, write=uuid)),
}


def write(segments: Sequence[Segment], series: Mapping[bytes, Series], *, zone: str) -> None:
    """Store segments, add them to their hourly sums, and open the periods and draft invoices that bill them.

    A correction is billed in the currency of its own day, on an invoice of its own if the month has another.
    """
    if not segments:
        return
    places = {id(segment.place): segment.place for segment in segments}
    known = [(key, series[key]) for key in sorted({place.series for place in places.values()} & series.keys())]
    bills = sorted({(place.period, place.currency) for place in places.values()})
    bounds = [period_bounds(period, zone) for period, _ in bills]
    arguments = _columns(segments, places)
    arguments |= {
        "s_hash": hashes([key for key, _ in known]),
        "s_resource": array([item.resource for _, item in known], quoted),
        "s_job": array([item.job_id for _, item in known], uuid),
        "s_attempt": array([item.attempt_id for _, item in known], uuid),
        "s_source": array([item.source for _, item in known], quoted),
        "s_dims": array([item.dims for _, item in known], quoted),
        "i_period": [period for period, _ in bills],
        "i_currency": [currency for _, currency in bills],
        "i_start": [start for start, _ in bounds],
        "i_end": [end for _, end in bounds],
    }
    with prepared_cursor() as cursor:
        cursor.execute(WRITE, arguments)


def reverse(counter_entries: Sequence[tuple[UUID, Segment]]) -> None:
    """Store counter-entries, each with the locked hourly sum that it reduces."""
    segments = [segment for _, segment in counter_entries]
    with prepared_cursor() as cursor:
        rollups = [rollup_id for rollup_id, _ in counter_entries]
        places = {id(segment.place): segment.place for segment in segments}
        cursor.execute(REVERSE, {**_columns(segments, places), "rollups": rollups})


def _columns(segments: Sequence[Segment], places: Mapping[int, Place]) -> dict[str, Any]:
    numbers = {key: str(number) for number, key in enumerate(places, 1)}
    columns = {name: array([getattr(one, name) for one in places.values()], how) for name, how in OF_PLACES.items()}
    of_segments = zip(*map(attrgetter(*OF_SEGMENTS), segments), strict=True)
    columns |= {name: how(values) for (name, how), values in zip(OF_SEGMENTS.items(), of_segments, strict=True)}
    where = ",".join([numbers[id(one.place)] for one in segments])
    return columns | {"place": f"{{{where}}}", "tenant": current_tenant_id()}
