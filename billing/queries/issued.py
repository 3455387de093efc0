"""Invoices of all tenants, as the seller lists them, and what followed one: credit notes and payments."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.models import CreditNote, CreditNoteLine, Invoice, Payment
from billing.models.invoicing import FINALISED, STANDING
from billing.money import Money
from billing.queries.invoices import InvoiceView, with_lines
from billing.queries.lines import InvoiceLine
from tenants.errors import NotFound
from tenants.isolation.scoping import all_tenants, tenant_scope
from tenants.rows import named_rows

ROWS = """
SELECT i.id, i.tenant_id, t.slug, t.name, i.period, i.currency, i.state, i.kind, i.label, i.total, i.credited, i.paid, i.returned,
  i.due_on, i.finalised_at, i.due_on < (exchequer_now() AT TIME ZONE t.timezone)::date AS overdue
FROM billing_invoice i JOIN tenants_tenant t ON t.id = i.tenant_id
WHERE (%(state)s::text IS NULL OR i.state = %(state)s) AND (%(tenant)s::uuid IS NULL OR i.tenant_id = %(tenant)s)
  AND (%(period)s::date IS NULL OR i.period = %(period)s)
  AND (%(after_period)s::date IS NULL OR (i.period, i.id) < (%(after_period)s, %(after_id)s::uuid))
ORDER BY i.period DESC, i.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class InvoiceRow:
    """An invoice in the seller's list; `total` and `due` stand once it is finalised."""

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


@dataclass(frozen=True, slots=True)
class PaymentView:
    """Money that arrived for an invoice, or went back."""

    id: UUID
    kind: str
    method: str
    amount: Money
    reference: str
    received_on: date
    recorded_at: datetime
    recorded_by: str


def issued(
    *,
    state: str | None = None,
    tenant_id: UUID | None = None,
    period: date | None = None,
    after: tuple[date, UUID] | None = None,
    limit: int = 50,
) -> list[InvoiceRow]:
    """Return invoices of all tenants by newest month; `after` is the (period, id) of the previous page's last."""
    last_period, last_id = after or (None, None)
    asked = {
        "state": state,
        "tenant": tenant_id,
        "period": period,
        "after_period": last_period,
        "after_id": last_id,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(ROWS, asked)
        return [_row(row) for row in named_rows(cursor)]


def tenant_of(invoice_id: UUID) -> UUID:
    """Return the tenant of an invoice. Raises NotFound."""
    with all_tenants("the console finds an invoice by its id alone"):
        found = Invoice.objects.filter(pk=invoice_id).values_list("tenant_id", flat=True).first()
    if found is None:
        raise NotFound
    return found


def for_seller(invoice_id: UUID) -> tuple[UUID, InvoiceView, list[InvoiceLine]]:
    """Return an invoice's tenant, the invoice, and its lines. Raises NotFound."""
    tenant_id = tenant_of(invoice_id)
    with tenant_scope(tenant_id):
        view, lines = with_lines(invoice_id)
    return tenant_id, view, lines


def credit_notes(invoice_id: UUID) -> list[CreditNoteView]:
    """Return the credit notes of an invoice of the open scope, the newest first. Raises NotFound."""
    currency = _currency(invoice_id)
    notes = list(CreditNote.objects.filter(invoice_id=invoice_id).order_by("-number"))
    lines: dict[UUID, list[CreditedLine]] = {note.pk: [] for note in notes}
    for part in CreditNoteLine.objects.filter(note__in=notes).order_by("id"):
        lines[part.note_id].append(CreditedLine(part.line_id, Money(part.amount, currency), Money(part.tax, currency)))
    return [_note(note, currency, lines[note.pk]) for note in notes]


def payments(invoice_id: UUID) -> list[PaymentView]:
    """Return the payments of an invoice of the open scope, the newest first. Raises NotFound."""
    _currency(invoice_id)
    rows = Payment.objects.filter(invoice_id=invoice_id).order_by("-received_on", "-id")
    return [
        PaymentView(
            row.pk,
            row.kind,
            row.method,
            Money(row.amount, row.currency),
            row.reference,
            row.received_on,
            row.recorded_at,
            row.recorded_by,
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
    status = row.state if row.state != FINALISED else "past_due" if row.overdue else "open"
    return InvoiceRow(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant_slug=row.slug,
        tenant_name=row.name,
        period=row.period,
        currency=row.currency,
        state=row.state,
        status=status,
        kind=row.kind,
        number=row.label,
        total=Money(row.total, row.currency) if stands else None,
        due=Money(due, row.currency) if stands else None,
        due_on=row.due_on,
        finalised_at=row.finalised_at,
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
        **money,
    )
