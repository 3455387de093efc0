"""Prepare the draft of one tenant's month: its sums beside those of the month before, and its flags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.models import Invoice, PreparedDraft
from billing.models.invoicing import PERIOD, STANDING, VOID
from billing.queries.drafts import drafts
from billing.queries.lines import CORRECTION, USAGE, InvoiceLine, frozen_lines
from billing.rating.calendar import period_of
from billing.rating.flags import Item, flags, severity
from tenants.clock import DatabaseNow

ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class _Bill:
    """An invoice's sums and lines, whether it stands or is a draft."""

    invoice_id: UUID | None
    subtotal: Decimal
    tax: Decimal
    total: Decimal
    items: Sequence[Item] = ()
    titles: Mapping[str, str] = field(default_factory=dict)
    untaxed: bool = False


NO_BILL = _Bill(None, ZERO, ZERO, ZERO)


def prepare(period: date) -> None:
    """Store what a month of the open scope's tenant comes to, if that is not what is stored. Repeatable.

    There is a row for each currency in which the month has an invoice or the one before was billed.
    """
    last = period_of(period - timedelta(days=1))
    bills = _bills([last, period])
    wanted = {
        currency: _prepared(bills.get((period, currency)), bills.get((last, currency)))
        for currency in sorted({currency for _, currency in bills})
    }
    stored = {row.currency: row for row in PreparedDraft.objects.filter(period=period)}
    for currency, fields in wanted.items():
        row = stored.pop(currency, None)
        if fields is None:
            if row is not None:
                row.delete()
        elif row is None:
            PreparedDraft.objects.create(period=period, currency=currency, **fields)
        elif any(getattr(row, name) != value for name, value in fields.items()):
            PreparedDraft.objects.filter(pk=row.pk).update(prepared_at=DatabaseNow(), **fields)
    if stored:
        PreparedDraft.objects.filter(pk__in=[row.pk for row in stored.values()]).delete()


def _bills(periods: Sequence[date]) -> dict[tuple[date, str], _Bill]:
    """Return the invoices of these months that are not void, by month and currency."""
    rows = list(Invoice.objects.filter(period__in=periods, kind=PERIOD).exclude(state=VOID))
    frozen = frozen_lines({row.pk: row.currency for row in rows if row.state in STANDING})
    computed = drafts([(row.pk, row.period, row.currency) for row in rows if row.state not in STANDING])
    found = {}
    for row in rows:
        if row.pk in computed:
            draft = computed[row.pk]
            sums = (draft.subtotal.amount, draft.tax.amount, draft.total.amount)
            found[row.period, row.currency] = _Bill(
                row.pk, *sums, _items(draft.lines), _titles(draft.lines), bool(draft.untaxed)
            )
        else:
            sums = (row.subtotal or ZERO, row.tax or ZERO, row.total or ZERO)
            found[row.period, row.currency] = _Bill(row.pk, *sums, _items(frozen[row.pk]), _titles(frozen[row.pk]))
    return found


def _items(lines: Sequence[InvoiceLine]) -> list[Item]:
    return [
        Item(
            project=line.project_id,
            meter=line.meter or line.kind,
            amount=line.amount.amount,
            measured=line.measured,
            late=line.kind == CORRECTION,
            unpriced=line.kind in (USAGE, CORRECTION) and line.price_id is None,
        )
        for line in lines
    ]


def _titles(lines: Sequence[InvoiceLine]) -> dict[str, str]:
    return {line.meter: line.meter_title for line in lines if line.meter}


def _prepared(bill: _Bill | None, last: _Bill | None) -> Mapping[str, Any] | None:
    """Return what is stored of a month; None if it has no invoice, and the month before was billed nothing."""
    if bill is None and (last is None or not last.total):
        return None
    now, before = bill or NO_BILL, last or NO_BILL
    last_total = last.total if last else None
    found = flags(now.items, before.items, now.total, last_total, untaxed=now.untaxed)
    titles = {**before.titles, **now.titles}
    return {
        "invoice_id": now.invoice_id,
        "subtotal": now.subtotal,
        "tax": now.tax,
        "total": now.total,
        "last_total": last_total,
        "flags": [one.stored() | {"title": titles.get(one.meter, "")} for one in found],
        "severity": severity(found),
    }
