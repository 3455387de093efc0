"""Invoices of all tenants, as the seller lists them, and what followed one: credit notes and payments."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import Sum

from billing.models import CreditNote, CreditNoteLine, Invoice, Payment
from billing.models.invoicing import DRAFT, FINALISED, IN_REVIEW, PAID, STANDING
from billing.models.settling import DISPUTE, PAYMENT, REFUND, REVERSAL
from billing.money import Money
from billing.queries.drafts import drafts
from billing.queries.invoices import InvoiceView, with_lines
from billing.queries.lines import InvoiceLine
from billing.queries.owed.collecting import kept_by_banks
from tenants.errors import NotFound
from tenants.isolation.scoping import all_tenants, tenant_scope
from tenants.rows import named_rows

ROWS = """
SELECT i.id, i.tenant_id, t.slug, t.name, i.period, i.currency, i.state, i.kind, i.label, i.total, i.credited, i.paid, i.returned,
  i.due_on, i.finalised_at, i.ends_at <= exchequer_now() AS month_over, s.status,
  (SELECT count(*) FROM billing_dispute x WHERE x.tenant_id = i.tenant_id AND x.invoice_id = i.id AND x.state = 'open') AS disputes
FROM billing_invoice i JOIN tenants_tenant t ON t.id = i.tenant_id
CROSS JOIN LATERAL (SELECT CASE WHEN i.state <> 'finalised' THEN i.state
  WHEN i.due_on < (exchequer_now() AT TIME ZONE t.timezone)::date THEN 'past_due' ELSE 'open' END AS status) s
WHERE (%(state)s::text IS NULL OR i.state = %(state)s) AND (%(tenant)s::uuid IS NULL OR i.tenant_id = %(tenant)s)
  AND (%(status)s::text IS NULL OR s.status = %(status)s) AND (%(period)s::date IS NULL OR i.period = %(period)s)
  AND (%(text)s = '' OR strpos(lower(t.name), lower(%(text)s)) > 0 OR strpos(t.slug, lower(%(text)s)) > 0)
  AND (%(ids)s::uuid[] IS NULL OR i.id = ANY(%(ids)s::uuid[]))
  AND (%(after_period)s::date IS NULL OR (i.period, i.id) < (%(after_period)s, %(after_id)s::uuid))
ORDER BY i.period DESC, i.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class InvoiceFilter:
    """Which invoices to list: `status` is that of the row, `text` a part of the organisation's name or short name."""

    state: str | None = None
    status: str | None = None
    tenant_id: UUID | None = None
    period: date | None = None
    text: str = ""
    ids: tuple[UUID, ...] | None = None


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """An invoice in the seller's list; `total` and `due` stand once it is finalised. `month_over`: its month has ended."""

    id: UUID
    tenant_id: UUID
    tenant_slug: str
    tenant_name: str
    period: date
    currency: str
    state: str
    status: str
    kind: str
    number: str
    total: Money | None
    due: Money | None
    due_on: date | None
    finalised_at: datetime | None
    month_over: bool
    disputes: int = 0

    @property
    def can_be_finalised(self) -> bool:
        """Whether it is a draft of a month that has ended."""
        return self.month_over and self.state in (DRAFT, IN_REVIEW)

    @property
    def can_be_chosen(self) -> bool:
        """Whether something can be done to it together with others."""
        return self.can_be_finalised or self.can_be_sent

    @property
    def can_be_sent(self) -> bool:
        """Whether it is finalised and not void."""
        return self.state in (FINALISED, PAID)


@dataclass(frozen=True, slots=True)
class CreditedLine:
    """What a credit note takes off one line, and its tax."""

    line_id: UUID
    amount: Money
    tax: Money


@dataclass(frozen=True, slots=True)
class CreditNoteView:
    """A credit note; its total came off what was due, went back to the payer, or into the wallet."""

    id: UUID
    invoice_id: UUID
    number: str
    reason: str
    subtotal: Money
    tax: Money
    total: Money
    off_due: Money
    refunded: Money
    to_wallet: Money
    issued_at: datetime
    lines: Sequence[CreditedLine]
    content_hash: str


@dataclass(frozen=True, slots=True)
class PaymentView:
    """Money that arrived for an invoice, or went back; a reversal takes a payment back: it was recorded wrongly, or a bank took it."""

    id: UUID
    kind: str
    method: str
    amount: Money
    reference: str
    received_on: date
    recorded_at: datetime
    recorded_by: str
    reversed: bool = False

    @property
    def by_hand(self) -> bool:
        """Whether a person recorded it, so that it may be wrong, and it has not been reversed."""
        return (self.kind, self.method) == (PAYMENT, "manual") and not self.reversed


def issued(
    wanted: InvoiceFilter | None = None, *, after: tuple[date, UUID] | None = None, limit: int = 50
) -> list[InvoiceRow]:
    """Return invoices of all tenants by newest month; `after` is the (period, id) of the previous page's last."""
    wanted = wanted or InvoiceFilter()
    last_period, last_id = after or (None, None)
    asked = {
        "state": wanted.state,
        "status": wanted.status,
        "tenant": wanted.tenant_id,
        "period": wanted.period,
        "text": wanted.text,
        "ids": None if wanted.ids is None else list(wanted.ids),
        "after_period": last_period,
        "after_id": last_id,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(ROWS, asked)
        return [_row(row) for row in named_rows(cursor)]


def by_ids(invoice_ids: Collection[UUID]) -> list[InvoiceRow]:
    """Return these invoices of all tenants by newest month; unknown ids are left out."""
    return issued(InvoiceFilter(ids=tuple(invoice_ids)), limit=len(invoice_ids))


def with_totals(rows: Sequence[InvoiceRow]) -> list[InvoiceRow]:
    """Return the rows with what their drafts come to so far; a few statements for each tenant that has one."""
    by_tenant: dict[UUID, list[InvoiceRow]] = {}
    for row in rows:
        if row.total is None:
            by_tenant.setdefault(row.tenant_id, []).append(row)
    totals: dict[UUID, Money] = {}
    for tenant_id, mine in by_tenant.items():
        with tenant_scope(tenant_id):
            found = drafts([(row.id, row.period, row.currency) for row in mine])
        totals |= {invoice_id: draft.total for invoice_id, draft in found.items()}
    return [replace(row, total=totals.get(row.id, row.total)) for row in rows]


def tenant_of(invoice_id: UUID) -> UUID:
    """Return the tenant of an invoice. Raises NotFound."""
    with all_tenants("the console finds an invoice by its id alone"):
        found = Invoice.objects.filter(pk=invoice_id).values_list("tenant_id", flat=True).first()
    if found is None:
        raise NotFound
    return found


def tenants_billed(first: date, last: date) -> list[UUID]:
    """Return the tenants with an invoice of these months, drafts included."""
    with all_tenants("the console exports a month of all tenants"):
        found = Invoice.objects.filter(period__gte=first, period__lte=last).values_list("tenant_id", flat=True)
        return sorted(set(found))


def for_seller(invoice_id: UUID) -> tuple[UUID, InvoiceView, list[InvoiceLine]]:
    """Return an invoice's tenant, the invoice, and its lines. Raises NotFound."""
    tenant_id = tenant_of(invoice_id)
    with tenant_scope(tenant_id):
        view, lines = with_lines(invoice_id)
    return tenant_id, view, lines


def credit_notes(invoice_id: UUID) -> list[CreditNoteView]:
    """Return the credit notes of an invoice of the open scope, the newest first. Raises NotFound."""
    notes = list(CreditNote.objects.filter(invoice_id=invoice_id).select_related("invoice").order_by("-number"))
    currency = notes[0].invoice.currency if notes else _currency(invoice_id)
    lines: dict[UUID, list[CreditedLine]] = {note.pk: [] for note in notes}
    for part in CreditNoteLine.objects.filter(note__in=[note.pk for note in notes]).order_by("id"):
        lines[part.note_id].append(CreditedLine(part.line_id, Money(part.amount, currency), Money(part.tax, currency)))
    return [_note(note, currency, lines[note.pk]) for note in notes]


def left_of_lines(invoice_id: UUID, lines: Sequence[InvoiceLine]) -> dict[UUID, Money]:
    """Return what can still be credited of each line of an invoice of the open scope, without tax."""
    parts = CreditNoteLine.objects.filter(note__invoice_id=invoice_id).values_list("line_id").annotate(Sum("amount"))
    credited = dict(parts)
    return {line.id: Money(line.amount.amount - credited.get(line.id, 0), line.amount.currency) for line in lines}


def credit_note(invoice_id: UUID, note_id: UUID) -> CreditNoteView:
    """Return one credit note of an invoice of the open scope. Raises NotFound."""
    for note in credit_notes(invoice_id):
        if note.id == note_id:
            return note
    raise NotFound


def payments(invoice_id: UUID) -> list[PaymentView]:
    """Return the payments of an invoice of the open scope, the newest first. Raises NotFound."""
    rows = list(Payment.objects.filter(invoice_id=invoice_id).order_by("-received_on", "-id"))
    if not rows:
        _currency(invoice_id)
        return []
    taken_back = {row.external_id for row in rows if row.method == REVERSAL}
    kept = kept_by_banks(invoice_id)
    return [
        PaymentView(
            row.pk,
            REVERSAL if row.kind == REFUND and row.method in (REVERSAL, DISPUTE) else row.kind,
            row.method,
            Money(row.amount, row.currency),
            row.reference,
            row.received_on,
            row.recorded_at,
            row.recorded_by,
            str(row.pk) in taken_back or (row.kind == PAYMENT and row.external_id in kept),
        )
        for row in rows
    ]


def _currency(invoice_id: UUID) -> str:
    currency = Invoice.objects.filter(pk=invoice_id).values_list("currency", flat=True).first()
    if currency is None:
        raise NotFound
    return currency


def _row(row: Any) -> InvoiceRow:
    stands = row.state in STANDING
    due = row.total - row.credited - row.paid + row.returned if stands and row.state != "void" else Decimal(0)
    return InvoiceRow(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant_slug=row.slug,
        tenant_name=row.name,
        period=row.period,
        currency=row.currency,
        state=row.state,
        status=row.status,
        kind=row.kind,
        number=row.label,
        total=Money(row.total, row.currency) if stands else None,
        due=Money(due, row.currency) if stands else None,
        due_on=row.due_on,
        finalised_at=row.finalised_at,
        month_over=row.month_over,
        disputes=row.disputes,
    )


def _note(note: CreditNote, currency: str, lines: Sequence[CreditedLine]) -> CreditNoteView:
    money = {
        name: Money(getattr(note, name), currency)
        for name in ("subtotal", "tax", "total", "off_due", "refunded", "to_wallet")
    }
    return CreditNoteView(
        id=note.pk,
        invoice_id=note.invoice_id,
        number=note.label,
        reason=note.reason,
        issued_at=note.issued_at,
        lines=lines,
        content_hash=bytes(note.content_hash).hex(),
        **money,
    )
