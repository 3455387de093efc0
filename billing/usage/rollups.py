"""Usage segments and their hourly sums, stored by one statement in the transaction that accepts them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.pg_arrays import array, bytea, iso, uuid
from billing.rating.calendar import period_bounds, period_of
from billing.rating.flat import charge
from billing.rating.quantity import seconds_delta
from billing.usage.intervals import Series
from tenants.isolation.scoping import current_tenant_id

#: The second half of a segment has the number of the first and this: an event has fewer parts.
CUT = 1_000


@dataclass(slots=True)
class Segment:
    """A part of an interval inside one quarter hour and one price. Amounts have twelve decimals.

    `unit_amount` is the contracted price and `list_amount` the list price, if it differs.
    """

    key_hash: bytes
    part: int
    series: bytes
    start: datetime
    end: datetime
    period: date
    day: date
    meter_id: UUID
    project_id: UUID
    price_id: UUID | None
    measured: Decimal
    billable: Decimal
    amount: Decimal
    unit_amount: Decimal = Decimal(0)
    list_amount: Decimal | None = None
    discount: Decimal = Decimal(0)
    hold_id: UUID | None = None
    kind: str = "usage"
    counted: bool = False
    batch_id: UUID | None = None

    def cut(self, units: Decimal) -> Segment:
        """Keep so many of its units and return the rest, which no hold pays, as a segment of its own."""
        rest = replace(self, part=self.part + CUT, hold_id=None, measured=self.measured - units)
        if not self.counted:
            rest.start = self.end = self.start + seconds_delta(units)
        self.measured = units
        rest.bill(self.billable - units)
        self.bill(units)
        return rest

    @property
    def month(self) -> date:
        """The month of its day, whose budgets pay for it. `period` is later if that month was closed."""
        return period_of(self.day)

    def bill(self, units: Decimal) -> None:
        """Charge this many of its units."""
        self.billable, self.amount = units, charge(units, self.unit_amount)
        self.discount = Decimal(0) if self.list_amount is None else charge(units, self.list_amount) - self.amount


SEGMENTS = """
segment AS MATERIALIZED (
  SELECT * FROM unnest(
    %(key_hash)s::bytea[], %(part)s::smallint[], %(series)s::bytea[], %(start)s::timestamptz[], %(end)s::timestamptz[],
    %(period)s::date[], %(day)s::date[], %(meter_id)s::uuid[], %(project_id)s::uuid[], %(price_id)s::uuid[],
    %(hold_id)s::uuid[], %(kind)s::text[], %(measured)s::numeric[], %(billable)s::numeric[], %(amount)s::numeric[], %(discount)s::numeric[], %(batch_id)s::uuid[]
  ) AS p(key_hash, part, series_hash, started_at, ended_at, period, day, meter_id, project_id, price_id,
         hold_id, kind, measured, billable, amount, discount, batch_id)
), event AS (
  INSERT INTO billing_usageevent (tenant_id, series_hash, started_at, key_hash, part, ended_at, kind, period, day,
    meter_id, project_id, price_id, hold_id, measured, billable, amount, discount, batch_id)
  SELECT %(tenant)s, series_hash, started_at, key_hash, part, ended_at, kind, period, day,
    meter_id, project_id, price_id, hold_id, measured, billable, amount, discount, batch_id FROM segment
)
"""
WRITE = f"""
WITH {SEGMENTS}, series AS (
  INSERT INTO billing_usageseries (tenant_id, hash, resource, job_id, attempt_id, source, dims)
  SELECT %(tenant)s, s.* FROM unnest(
    %(s_hash)s::bytea[], %(s_resource)s::text[], %(s_job)s::uuid[], %(s_attempt)s::uuid[], %(s_source)s::text[], %(s_dims)s::jsonb[]
  ) AS s(hash, resource, job_id, attempt_id, source, dims) ORDER BY s.hash ON CONFLICT DO NOTHING
), bill AS (
  INSERT INTO billing_invoice (id, tenant_id, period, starts_at, ends_at, currency)
  SELECT gen_random_uuid(), %(tenant)s, i.*, %(currency)s
  FROM unnest(%(i_period)s::date[], %(i_start)s::timestamptz[], %(i_end)s::timestamptz[]) AS i ORDER BY 2, 3
  ON CONFLICT DO NOTHING
), month AS (
  INSERT INTO billing_billingperiod (id, tenant_id, period, starts_at, ends_at)
  SELECT gen_random_uuid(), %(tenant)s, i.*
  FROM unnest(%(i_period)s::date[], %(i_start)s::timestamptz[], %(i_end)s::timestamptz[]) AS i ORDER BY 2, 3
  ON CONFLICT DO NOTHING
)
INSERT INTO billing_usagerollup AS r (id, tenant_id, period, day, hour, price_id, meter_id, project_id, series_hash,
  events, measured, billable, amount, discount)
SELECT gen_random_uuid(), %(tenant)s, period, day, date_trunc('hour', started_at, 'UTC'), price_id, meter_id, project_id, series_hash,
  count(*), sum(measured), sum(billable), sum(amount), sum(discount)
FROM segment GROUP BY period, day, date_trunc('hour', started_at, 'UTC'), price_id, meter_id, project_id, series_hash
ORDER BY series_hash, 5, day, period, project_id, meter_id, price_id
ON CONFLICT (tenant_id, series_hash, hour, day, period, project_id, meter_id, price_id) DO UPDATE SET
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
WHERE r.tenant_id = %(tenant)s AND r.id = w.id
"""  # noqa: S608
FIELDS: dict[str, Callable[[Any], str]] = {
    **dict.fromkeys(("key_hash", "series"), bytea),
    **dict.fromkeys(("start", "end", "period", "day"), iso),
    **dict.fromkeys(("meter_id", "project_id", "price_id", "hold_id", "batch_id"), uuid),
    **dict.fromkeys(("part", "measured", "billable", "amount", "discount", "kind"), str),
}


def write(segments: Sequence[Segment], series: Mapping[bytes, Series], *, currency: str, zone: str) -> None:
    """Store segments, add them to their hourly sums, and open the periods and draft invoices that bill them."""
    if not segments:
        return
    known = [(key, series[key]) for key in sorted({segment.series for segment in segments} & series.keys())]
    periods = sorted({segment.period for segment in segments})
    bounds = [period_bounds(period, zone) for period in periods]
    arguments = _columns(segments)
    arguments |= {
        "s_hash": [key for key, _ in known],
        "s_resource": [item.resource for _, item in known],
        "s_job": [item.job_id for _, item in known],
        "s_attempt": [item.attempt_id for _, item in known],
        "s_source": [item.source for _, item in known],
        "s_dims": [item.dims for _, item in known],
        "i_period": periods,
        "i_start": [start for start, _ in bounds],
        "i_end": [end for _, end in bounds],
    }
    with connection.cursor() as cursor:
        cursor.execute(WRITE, {**arguments, "currency": currency})


def reverse(counter_entries: Sequence[tuple[UUID, Segment]]) -> None:
    """Store counter-entries, each with the locked hourly sum that it reduces."""
    segments = [segment for _, segment in counter_entries]
    with connection.cursor() as cursor:
        rollups = [rollup_id for rollup_id, _ in counter_entries]
        cursor.execute(REVERSE, {**_columns(segments), "rollups": rollups})


def _columns(segments: Sequence[Segment]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: array([getattr(segment, name) for segment in segments], write) for name, write in FIELDS.items()
    }
    return columns | {"tenant": current_tenant_id()}
