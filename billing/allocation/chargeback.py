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
from billing.usage import owners
from billing.usage.billed import FROM_BILLED
from billing.usage.groups import DIMS, UNTAGGED, WITHOUT, Grouping
from billing.usage.reserved_sources import own_sources
from tenants.errors import Invalid
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows

MOST_BY = 2
LABEL = re.compile(r"tag:[A-Za-z0-9_.-]{1,60}")
MOST_ROWS = 10_000
#: What both parts of what is billed select.
USED = """r.tenant_id = %(tenant)s AND r.period = %(period)s
AND (r.day >= %(first)s AND r.day < %(end)s OR r.day < r.period AND %(corrections)s)"""
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

    `cost` is its part of the invoice without tax, and of the lines with the numbers `lines`. `quantity` is in `unit`, None over
    several units.
    """

    keys: Mapping[str, str | None]
    names: Mapping[str, str]
    cost: Money
    quantity: Decimal | None
    unit: str
    predictions: Decimal
    lines: Sequence[int] = ()

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
        lines=sorted(cell.lines),
    )


def _name(dimension: str, key: str | None, names: Mapping[str, Mapping[str, str]]) -> str:
    """Return what a person reads for a value; work without one has a name too."""
    if key is None:
        return WITHOUT.get(dimension, UNTAGGED)
    if key == WHOLE_ORGANISATION:
        return WITHOUT["project"]
    found = names.get(dimension, {}).get(key)
    # A job without a name has the one that Spend gives it.
    return found or (f"job {key[-8:]}" if dimension == "job" and key != WITHHELD else key)


def _used(
    view: InvoiceView,
    lines: Sequence[InvoiceLine],
    by: Sequence[str],
    names: dict[str, dict[str, str]],
    *,
    whole: bool = False,
) -> Iterator[Used]:
    own = {(line.key, line.origin): line for line in lines if line.kind in (USAGE, CORRECTION)}
    for row in _sums(view, by, names, whole=whole):
        line = own[(row.project_id, row.meter_id, row.price_id, row.rate_id, row.outside), row.origin]
        keys = tuple(line.meter if name == "meter" else getattr(row, f"key_{n}") for n, name in enumerate(by))
        predictions = row.measured if line.meter == INFERENCE_REQUESTS else Decimal(0)
        yield Used(line.id, keys, row.amount, row.billable, predictions)


def _sums(view: InvoiceView, by: Sequence[str], names: dict[str, dict[str, str]], *, whole: bool) -> list[Any]:
    """Return the sums of what an invoice bills by its lines and dimensions, and add the names of jobs and owners to `names`."""
    asked: dict[str, Any] = {
        "tenant": current_tenant_id(),
        "first": view.period,
        "end": next_period(view.period),
        "period": view.period,
        "corrections": True,
        "currency": view.currency,
        "own": own_sources(),
    }
    groups = Grouping(asked, USED, billed=True, whole=whole)
    # The line of a row names its meter.
    keys = [f"{groups.expression(name)} AS key_{n}" for n, name in enumerate(by) if name != "meter"] or ["1 AS one"]
    grouped = ", ".join(str(n + 1) for n in range(len(keys) + 6))
    with connection.cursor() as cursor:
        cursor.execute(SUMS.format(keys=", ".join(keys), grouped=grouped), asked)
        rows = named_rows(cursor)
    names |= groups.names
    if "job" in by:
        jobs = {getattr(row, f"key_{by.index('job')}") for row in rows} - {None, WITHHELD}
        names["job"] = {str(job): name for job, name in resource_names.job_names(map(UUID, jobs)).items()}
    return rows
