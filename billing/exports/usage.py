"""The usage of an invoice as charges: sums of roll-ups by day or hour, project, resource, job, price and dimensions.

A cursor of the database gives them portion by portion, so that a month of any size takes the same memory.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing import resource_names
from billing.exports.charge import Category, Charge, Heading, Sku
from billing.exports.lines import ZERO, sku_of
from billing.models import Price
from billing.money import EXACT
from billing.pg_arrays import parsed
from billing.queries.invoices import InvoiceView
from billing.queries.lines import CORRECTION, USAGE, InvoiceLine, LineKey
from billing.rating.calendar import day_start
from billing.rating.quantity import SHARE
from billing.rating.tags import tags_in
from billing.usage.billed import FROM_BILLED
from billing.usage.reserved_sources import own_sources
from tenants.isolation.scoping import current_tenant_id
from tenants.projects.sight import closed_ids
from tenants.rows import named_portions

PORTION = 1_000
#: Tags of senders have no slash.
SHARE_TAG = "exchequer/share"
SUMS = f"""
SELECT r.day, {{hour}} AS hour, r.project_id, r.meter_id, r.price_id, r.rate_id, s.resource, s.job_id, s.dims, s.source <> ALL (%(own)s) AS outside,
  CASE WHEN r.day < r.period THEN date_trunc('month', r.day)::date END AS origin,
  sum(r.measured) AS measured, sum(r.billable) AS billable, sum(r.amount) AS amount, sum(r.discount) AS discount
{FROM_BILLED} GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11
HAVING sum(r.measured) <> 0 OR sum(r.billable) <> 0 OR sum(r.amount) <> 0 OR sum(r.discount) <> 0
ORDER BY 1, 2, 3, 7, 4, 5, 6, 8, 10, 9
"""
HOURS = {"day": "NULL::timestamptz", "hour": "r.hour"}
LineOf = tuple[LineKey, date | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The days of a month to export, by day or hour. Corrections belong to a whole month."""

    first: date
    end: date
    whole: bool
    granularity: str = "day"


@dataclass(slots=True)
class UsageOf:
    """The usage of one invoice. `written` is what the charges of each line have come to so far."""

    heading: Heading
    view: InvoiceView
    lines: Sequence[InvoiceLine]
    part: Part
    zone: str
    written: dict[UUID, Decimal] = field(default_factory=dict)

    def charges(self) -> Generator[Charge, None, None]:
        """Return a charge for each sum, in order of time."""
        own = {_line_of(line): line for line in self.lines if line.kind in (USAGE, CORRECTION)}
        skus = _skus(own.values())
        hidden, closed = {str(job) for job in resource_names.withheld(resource_names.JOB)}, closed_ids("jobs.view")
        with connection.chunked_cursor() as cursor:
            cursor.execute(SUMS.format(hour=HOURS[self.part.granularity]), self._asked())
            for rows in named_portions(cursor, PORTION):
                names = resource_names.resource_names(row.resource for row in rows)
                for row in rows:
                    line = own[(row.project_id, row.meter_id, row.price_id, row.rate_id, row.outside), row.origin]
                    self.written[line.id] = EXACT.add(self.written.get(line.id, ZERO), row.amount)
                    unseen = str(row.job_id) in hidden or row.project_id in closed
                    yield self._charge(
                        row, line, skus[line.id], "" if unseen else names.get(row.resource, ""), unseen=unseen
                    )

    def _asked(self) -> dict[str, Any]:
        return {
            "tenant": current_tenant_id(),
            "first": self.part.first,
            "end": self.part.end,
            "period": self.view.period,
            "corrections": self.part.whole,
            "currency": self.view.currency,
            "own": own_sources(),
        }

    def _charge(self, row: Any, line: InvoiceLine, sku: Sku, name: str, *, unseen: bool) -> Charge:
        starts = row.hour or day_start(row.day, self.zone)
        ends = row.hour + timedelta(hours=1) if row.hour else day_start(row.day + timedelta(days=1), self.zone)
        return Charge(
            heading=self.heading,
            category=Category.USAGE,
            kind=line.kind,
            description=line.meter_title or line.meter,
            starts_at=starts,
            ends_at=ends,
            billed=row.amount,
            contracted=row.amount,
            effective=row.amount,
            listed=EXACT.add(row.amount, row.discount),
            correction=row.origin is not None,
            consumed=row.measured,
            quantity=row.billable,
            sku=sku,
            resource=row.resource,
            resource_name=resource_names.WITHHELD if unseen else name,
            project_id=str(row.project_id),
            project_name=line.project_name,
            tags=({} if unseen else tags_in(parsed(row.dims))) | ({} if row.outside else _share(parsed(row.dims))),
            job_id=str(row.job_id) if row.job_id else "",
            line_id=str(line.id),
        )


def _share(dims: Mapping[str, str]) -> dict[str, str]:
    """Return the platform's own tag of usage of less than a whole unit."""
    return {SHARE_TAG: dims[SHARE]} if SHARE in dims else {}


def _line_of(line: InvoiceLine) -> LineOf:
    return line.key, line.origin


def _skus(lines: Any) -> dict[UUID, Sku]:
    """Return what each line sells, with the list price that its price states."""
    usage = list(lines)
    listed = dict(Price.objects.filter(pk__in={line.price_id for line in usage}).values_list("id", "list_amount"))
    return {line.id: sku_of(line, listed.get(line.price_id)) for line in usage}
