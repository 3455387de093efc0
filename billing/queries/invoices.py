"""Invoices: drafts computed from the roll-ups, standing ones as they were finalised."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Q

from billing.credit.applied import AppliedCredit, applied_credits
from billing.models import Invoice
from billing.models.invoicing import DRAFT, FINALISED, IN_REVIEW, STANDING
from billing.money import Money
from billing.pg_arrays import parsed
from billing.queries.calendar import tenant_today
from billing.queries.drafts import Draft, TaxRow, drafts
from billing.queries.lines import InvoiceLine, frozen_lines
from billing.rating.calendar import period_bounds
from tenants.errors import NotFound
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows

INVOICES = """
SELECT id, period, starts_at, ends_at, currency, state, created_at, kind, label, finalised_at, due_on, subtotal, tax, total, taxes,
  seller, customer, content_hash, credited, paid, returned, sent_at, voided_at, void_reason, replaces_id,
  due_on < (exchequer_now() AT TIME ZONE (SELECT timezone FROM tenants_tenant t WHERE t.id = tenant_id))::date AS overdue
FROM billing_invoice
WHERE tenant_id = %(tenant)s AND (%(id)s::uuid IS NULL OR id = %(id)s) AND (%(period)s::date IS NULL OR period = %(period)s)
  AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(after_period)s::date IS NULL OR (period, id) < (%(after_period)s, %(after_id)s::uuid))
ORDER BY period DESC, id DESC LIMIT %(limit)s
"""
NOTHING = Decimal(0)
#: A month has at most one draft in each currency that the organisation has paid in.
MOST_DRAFTS = 50


@dataclass(frozen=True, slots=True)
class InvoiceView:
    """An invoice. `subtotal` is the sum of its rounded lines, `total` that and the tax; `quantities` by unit never add up.

    `due` is what is still to be paid; of a draft, after `credits`, whose part after tax is `covered`. `untaxed` says why the
    tax of a draft is not known. `number`, `due_on`, `seller`, `customer` and `content_hash` stand once it is finalised.
    """

    id: UUID | None
    period: date
    starts_at: datetime
    ends_at: datetime
    currency: str
    state: str
    created_at: datetime | None
    line_count: int
    quantities: Mapping[str, Decimal]
    exact: Money
    subtotal: Money
    tax: Money
    total: Money
    due: Money
    kind: str = "period"
    number: str = ""
    finalised_at: datetime | None = None
    due_on: date | None = None
    overdue: bool = False
    taxes: Sequence[TaxRow] = ()
    seller: Mapping[str, str] = field(default_factory=dict)
    customer: Mapping[str, str] = field(default_factory=dict)
    content_hash: str = ""
    credited: Money | None = None
    paid: Money | None = None
    returned: Money | None = None
    sent_at: datetime | None = None
    voided_at: datetime | None = None
    void_reason: str = ""
    replaces_id: UUID | None = None
    untaxed: str = ""
    credits: Sequence[AppliedCredit] = ()
    covered: Money | None = None

    @property
    def is_draft(self) -> bool:
        """Whether its lines can still change."""
        return self.state in (DRAFT, IN_REVIEW)

    @property
    def status(self) -> str:
        """Its state for a person: an unpaid one is open, then past due."""
        if self.state == FINALISED:
            return "past_due" if self.overdue else "open"
        return self.state


@dataclass(frozen=True, slots=True)
class OtherInvoice:
    """An invoice that another one names; `number` is empty for a draft."""

    id: UUID
    number: str


def draft_invoice() -> InvoiceView:
    """Return the running month's draft, also one in review; without usage an empty one with no id."""
    at = tenant_today()
    for state in (DRAFT, IN_REVIEW):
        # What it corrects of months in another currency is on a draft of its own.
        found = _invoices(period=at.period, currency=at.currency, state=state, limit=MOST_DRAFTS)
        if found:
            return found[0]
    starts, ends = period_bounds(at.period, at.zone)
    zero = Money.zero(at.currency)
    return InvoiceView(
        None, at.period, starts, ends, at.currency, "draft", None, 0, {}, zero, zero, zero, zero, due=zero
    )


def invoices(
    *,
    after: tuple[date, UUID] | None = None,
    limit: int = 50,
    state: str | None = None,
    period: date | None = None,
) -> list[InvoiceView]:
    """Return invoices by newest period, of one state or month if given.

    `after` is the (period, id) of the previous page's last.
    """
    return _invoices(after=after, limit=limit, state=state, period=period)


def invoice(invoice_id: UUID) -> InvoiceView:
    """Return one invoice. Raises NotFound."""
    return with_lines(invoice_id)[0]


def invoice_lines(invoice_id: UUID) -> list[InvoiceLine]:
    """Return an invoice's lines in order. Raises NotFound."""
    return with_lines(invoice_id)[1]


def with_lines(invoice_id: UUID) -> tuple[InvoiceView, list[InvoiceLine]]:
    """Return one invoice with its lines. Raises NotFound."""
    rows = _rows(invoice_id=invoice_id, limit=1)
    if not rows:
        raise NotFound
    draft = _drafts(rows)[invoice_id]
    return _view(rows[0], draft), list(draft.lines)


def invoice_line(invoice_id: UUID, n: int) -> InvoiceLine:
    """Return line `n` of an invoice. Raises NotFound."""
    return line_of(invoice_lines(invoice_id), n)


def line_of(lines: Sequence[InvoiceLine], n: int) -> InvoiceLine:
    """Return line `n` of these. Raises NotFound."""
    for line in lines:
        if line.n == n:
            return line
    raise NotFound


def replaced(invoice: InvoiceView) -> tuple[OtherInvoice | None, OtherInvoice | None]:
    """Return the void invoice in whose place this one is, and the one in the place of this one."""
    rows = Invoice.objects.filter(Q(pk=invoice.replaces_id) | Q(replaces_id=invoice.id)).values_list("id", "label")
    found = {invoice_id: OtherInvoice(invoice_id, label) for invoice_id, label in rows}
    before = found.pop(invoice.replaces_id, None) if invoice.replaces_id else None
    return before, next(iter(found.values()), None)


def _rows(
    *,
    invoice_id: UUID | None = None,
    period: date | None = None,
    state: str | None = None,
    after: tuple[date, UUID] | None = None,
    limit: int,
) -> list[Any]:
    last_period, last_id = after or (None, None)
    arguments = {
        "tenant": current_tenant_id(),
        "id": invoice_id,
        "period": period,
        "state": state,
        "after_period": last_period,
        "after_id": last_id,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(INVOICES, arguments)
        return named_rows(cursor)


def _drafts(rows: Sequence[Any]) -> dict[UUID, Draft]:
    """Return the lines and sums of these invoices: computed for drafts, stored for the others."""
    standing = frozen_lines({row.id: row.currency for row in rows if row.state in STANDING})
    used = applied_credits({row.id: row.currency for row in rows if row.state in STANDING})
    found = {
        row.id: Draft(
            standing[row.id],
            _taxes(row),
            Money(row.subtotal, row.currency),
            Money(row.tax, row.currency),
            credits=used.get(row.id, ()),
        )
        for row in rows
        if row.state in STANDING
    }
    return found | drafts([(row.id, row.period, row.currency) for row in rows if row.state not in STANDING])


def _invoices(*, currency: str | None = None, **chosen: Any) -> list[InvoiceView]:
    rows = [row for row in _rows(**chosen) if currency is None or row.currency == currency]
    found = _drafts(rows)
    return [_view(row, found[row.id]) for row in rows]


def _view(row: Any, draft: Draft) -> InvoiceView:
    money = {name: Money(getattr(row, name), row.currency) for name in ("credited", "paid", "returned")}
    stands = row.state in STANDING
    settled = money["credited"] + money["paid"] - money["returned"] if stands else draft.covered
    zero = Money.zero(row.currency)
    return InvoiceView(
        id=row.id,
        period=row.period,
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        currency=row.currency,
        state=row.state,
        created_at=row.created_at,
        line_count=len(draft.lines),
        quantities=_by_unit(draft.lines),
        exact=sum((line.exact for line in draft.lines), zero),
        subtotal=draft.subtotal,
        tax=draft.tax,
        total=draft.total,
        due=zero if row.state == "void" else draft.total - settled,
        kind=row.kind,
        number=row.label,
        finalised_at=row.finalised_at,
        due_on=row.due_on,
        overdue=bool(row.overdue) and row.state == FINALISED,
        taxes=draft.taxes,
        seller=parsed(row.seller),
        customer=parsed(row.customer),
        content_hash=bytes(row.content_hash).hex() if row.content_hash else "",
        credited=money["credited"] if stands else None,
        paid=money["paid"] if stands else None,
        returned=money["returned"] if stands else None,
        sent_at=row.sent_at,
        voided_at=row.voided_at,
        void_reason=row.void_reason,
        replaces_id=row.replaces_id,
        untaxed=draft.untaxed,
        credits=draft.credits,
        covered=None if stands else draft.covered,
    )


def _taxes(row: Any) -> list[TaxRow]:
    # A cursor yields JSON decoded or as text.
    kept = json.loads(row.taxes) if isinstance(row.taxes, str) else row.taxes
    return [TaxRow.read(one, row.currency) for one in kept]


def _by_unit(lines: Sequence[InvoiceLine]) -> dict[str, Decimal]:
    sums: dict[str, Decimal] = {}
    for line in lines:
        if line.unit:
            sums[line.unit] = sums.get(line.unit, NOTHING) + line.quantity
    return sums
