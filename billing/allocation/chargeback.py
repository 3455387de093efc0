"""A month's invoice by up to two dimensions: from roll-ups, by one statement and one look-up for each kind of owner."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing import resource_names
from billing.allocation import owners
from billing.allocation.owners import Owner
from billing.allocation.spread import WHOLE_ORGANISATION, Cell, Keys, Used, spread
from billing.defaults import INFERENCE_REQUESTS
from billing.models import Invoice
from billing.models.invoicing import PERIOD, VOID
from billing.money import Money
from billing.queries.calendar import tenant_currencies
from billing.queries.invoices import InvoiceView, with_lines
from billing.queries.lines import CORRECTION, USAGE, InvoiceLine
from billing.rating.calendar import next_period
from billing.resource_names import WITHHELD
from billing.usage.billed import FROM_BILLED
from billing.usage.reserved_sources import own_sources
from tenants.errors import Invalid
from tenants.isolation.scoping import current_tenant_id
from tenants.projects.sight import closed_ids
from tenants.rows import named_rows

MOST_BY = 2
DIMS = {"tier": "tier", "device_class": "device_class", "endpoint": "endpoint"}
NOTHING = {
    "project": "Whole organisation",
    "meter": "Without a meter",
    "job": "Without a job",
    "tier": "Without a tier",
    "device_class": "Without a device class",
    "endpoint": "Without an endpoint",
    "person": "Nobody",
    "model": "Without a model",
}
LABEL = re.compile(r"tag:[A-Za-z0-9_.-]{1,60}")
MOST_ROWS = 10_000
SUMS = f"""
SELECT {{keys}}, r.project_id, r.meter_id, r.price_id, r.rate_id, s.source <> ALL (%(own)s) AS outside,
  CASE WHEN r.day < r.period THEN date_trunc('month', r.day)::date END AS origin,
  sum(r.billable) AS billable, sum(r.measured) AS measured, sum(r.amount) AS amount
{FROM_BILLED} GROUP BY {{grouped}}
"""


class TooManyRows(Invalid):
    """This answer has more than 10,000 rows. Ask for one dimension, or for a coarser one."""

    code = "too_many_rows"


@dataclass(frozen=True, slots=True)
class ChargebackRow:
    """What one combination comes to. `keys` are by dimension, None for usage without a value; `names` are for people.

    `cost` is its part of the invoice without tax. `quantity` is in `unit`, None over several units.
    """

    keys: Mapping[str, str | None]
    names: Mapping[str, str]
    cost: Money
    quantity: Decimal | None
    unit: str
    predictions: Decimal

    @property
    def per_1000(self) -> Money | None:
        """The cost of a thousand predictions; None without any."""
        if not self.predictions:
            return None
        return self.cost * (Decimal(1000) / self.predictions)


@dataclass(frozen=True, slots=True)
class Chargeback:
    """A month by dimensions. `total` is the invoice's sum without tax, and that of its rows; no `invoice` is no usage."""

    period: date
    by: Sequence[str]
    rows: Sequence[ChargebackRow]
    total: Money
    invoice: InvoiceView | None = None


def dimensions() -> list[str]:
    """Return the dimensions that need no name."""
    return ["project", "meter", "job", *DIMS, *owners.dimensions()]


def check(by: Sequence[str]) -> None:
    """Raise Invalid for no, too many, repeated or unknown dimensions."""
    known = dimensions()
    if not 1 <= len(by) <= MOST_BY or len(set(by)) < len(by):
        raise Invalid(fields={"by": [f"Name one or two of {', '.join(known)}, tag:NAME, by comma."]})
    for name in by:
        if name not in known and not LABEL.fullmatch(name):
            raise Invalid(fields={"by": [f"{name[:60]} is none of {', '.join(known)}, tag:NAME."]})


def chargeback(period: date, by: Sequence[str]) -> Chargeback:
    """Return a month by one or two dimensions, the dearest first. Raises Invalid."""
    check(by)
    invoice_id = _invoice_of(period)
    if invoice_id is None:
        return Chargeback(period, by, (), Money.zero(tenant_currencies().of(period)))
    view, lines = with_lines(invoice_id)
    names = _names(lines)
    used = list(_used(view, lines, by, names))
    cells = spread(lines, used, by, view.currency)
    if len(cells) > MOST_ROWS:
        raise TooManyRows
    rows = [_row(keys, cell, by, names) for keys, cell in cells.items() if cell.cost or any(cell.quantities.values())]
    rows.sort(key=lambda row: (-row.cost.amount, [row.names[name] for name in by]))
    return Chargeback(period, by, rows, view.subtotal, view)


def cells_of(
    period: date, by: Sequence[str]
) -> tuple[Mapping[Keys, Cell], Mapping[str, str], Money, InvoiceView | None]:
    """Return a month's cells by a project and any tags, the names of projects, the total without tax, and the invoice.

    Sums for a rule, not for a reader: tags of work that the reader does not see are read, too.
    """
    invoice_id = _invoice_of(period)
    if invoice_id is None:
        return {}, {}, Money.zero(tenant_currencies().of(period)), None
    view, lines = with_lines(invoice_id)
    names = _names(lines)
    return (
        spread(lines, _used(view, lines, by, names, whole=True), by, view.currency),
        names["project"],
        view.subtotal,
        view,
    )


def _invoice_of(period: date) -> UUID | None:
    # What a month corrects of months in another currency is on an invoice of its own.
    currency = tenant_currencies().of(period)
    found = Invoice.objects.exclude(state=VOID).filter(period=period, kind=PERIOD, currency=currency)
    return found.values_list("id", flat=True).first()


def _names(lines: Sequence[InvoiceLine]) -> dict[str, dict[str, str]]:
    return {
        "project": {str(line.project_id): line.project_name for line in lines if line.project_id},
        "meter": {line.meter: line.meter_title for line in lines if line.meter},
    }


def _row(keys: Keys, cell: Cell, by: Sequence[str], names: Mapping[str, Mapping[str, str]]) -> ChargebackRow:
    (quantity, unit) = (
        next(iter((q, u) for u, q in cell.quantities.items())) if len(cell.quantities) == 1 else (None, "")
    )
    return ChargebackRow(
        keys=dict(zip(by, keys, strict=True)),
        names={name: _name(name, key, names) for name, key in zip(by, keys, strict=True)},
        cost=cell.cost,
        quantity=quantity,
        unit=unit,
        predictions=cell.predictions,
    )


def _name(dimension: str, key: str | None, names: Mapping[str, Mapping[str, str]]) -> str:
    """Return what a person reads for a value; work without one has a name too."""
    if key is None:
        return NOTHING.get(dimension, "Untagged")
    if key == WHOLE_ORGANISATION:
        return NOTHING["project"]
    return names.get(dimension, {}).get(key) or key


def _used(
    view: InvoiceView,
    lines: Sequence[InvoiceLine],
    by: Sequence[str],
    names: dict[str, dict[str, str]],
    *,
    whole: bool = False,
) -> Iterator[Used]:
    own = {(line.key, line.origin): line for line in lines if line.kind in (USAGE, CORRECTION)}
    rows = _sums(view, by, whole=whole)
    hidden = {UUID(str(job)) for job in resource_names.withheld(resource_names.JOB)}
    looked_up: dict[str, dict[tuple[UUID | None, str], Owner]] = {
        name: owners.owners_of(name, {(row.job_id, row.resource) for row in rows})
        for name in by
        if name in owners.dimensions()
    }
    if "job" in by:
        names["job"] = {str(job): name for job, name in resource_names.job_names(row.job_id for row in rows).items()}
    reading = _Reading(looked_up, hidden, names)
    for row in rows:
        line = own[(row.project_id, row.meter_id, row.price_id, row.rate_id, row.outside), row.origin]
        keys = tuple(line.meter if name == "meter" else _key(name, n, row, reading) for n, name in enumerate(by))
        predictions = row.measured if line.meter == INFERENCE_REQUESTS else Decimal(0)
        yield Used(line.id, keys, row.amount, row.billable, predictions)


@dataclass(frozen=True, slots=True)
class _Reading:
    """What the values of a row are read with; `names` collects those of owners."""

    looked_up: Mapping[str, Mapping[tuple[UUID | None, str], Owner]]
    hidden: set[UUID]
    names: dict[str, dict[str, str]]


def _key(name: str, n: int, row: Any, reading: _Reading) -> str | None:
    if name == "project":
        return str(row.project_id)
    if name not in ("job", *reading.looked_up):
        value: str | None = getattr(row, f"key_{n}")
        return value
    if row.job_id in reading.hidden:
        return WITHHELD
    if name == "job":
        return str(row.job_id) if row.job_id else None
    owner = reading.looked_up[name].get((row.job_id, row.resource))
    if owner is None:
        return None
    reading.names.setdefault(name, {})[owner.key] = owner.name
    return owner.key


def _sums(view: InvoiceView, by: Sequence[str], *, whole: bool = False) -> list[Any]:
    asked: dict[str, Any] = {
        "tenant": current_tenant_id(),
        "first": view.period,
        "end": next_period(view.period),
        "period": view.period,
        "corrections": True,
        "currency": view.currency,
        "own": own_sources(),
        "hidden_jobs": [] if whole else resource_names.withheld(resource_names.JOB),
        "closed": [] if whole else sorted(closed_ids("jobs.view")),
        "withheld": WITHHELD,
    }
    keys = []
    for n, name in enumerate(by):
        if name in ("job", *owners.dimensions()):
            continue
        if label := DIMS.get(name, name if name.startswith("tag:") else ""):
            keys.append(f"{_value(label, n, asked)} AS key_{n}")
    looks_up = any(name in ("job", *owners.dimensions()) for name in by)
    keys += ["s.job_id", "CASE WHEN s.job_id IS NULL THEN s.resource ELSE '' END AS resource"] if looks_up else []
    keys = keys or ["1 AS one"]
    grouped = ", ".join(str(n + 1) for n in range(len(keys) + 6))
    with connection.cursor() as cursor:
        cursor.execute(SUMS.format(keys=", ".join(keys), grouped=grouped), asked)
        return named_rows(cursor)


def _value(label: str, n: int, asked: dict[str, Any]) -> str:
    """Return the expression of a dimension's value; what is hidden from the reader is one value."""
    asked[f"label{n}"] = label
    value = f"(s.dims ->> %(label{n})s::text)"
    if label.startswith("tag:"):
        if not asked["hidden_jobs"] and not asked["closed"]:
            return value
        unseen = "s.job_id = ANY(%(hidden_jobs)s::uuid[]) OR r.project_id = ANY(%(closed)s::uuid[])"
        return f"CASE WHEN {unseen} THEN %(withheld)s::text ELSE {value} END"
    if hidden := resource_names.withheld(label):
        asked[f"hidden{n}"] = hidden
        return f"CASE WHEN {value} = ANY(%(hidden{n})s::text[]) THEN %(withheld)s::text ELSE {value} END"
    return value
