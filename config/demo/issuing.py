"""The demo's invoices: once its history is committed, the seller issues the ended months of each organisation.

It runs in the console's role, as operators do, and by today's clock: an invoice is numbered when it is finalised.
"""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from billing.invoices import crediting, finalising, parties, paying
from billing.money import Money
from billing.queries import issued
from billing.queries.issued import InvoiceRow
from billing.rating.calendar import local_day
from billing.taxes import table
from billing.taxes.table import NewRate
from config.demo.company import SELLER
from config.demo.organisations import organisations
from tenants import clock

ISSUER = parties.Party(
    name="Isarwerk Compute GmbH",
    address="Lände 12\n80331 Munich",
    country="DE",
    tax_number="DE136695976",
    email="billing@isarwerk.example",
    how_to_pay="Transfer to IBAN DE00 0000 0000 0000 0000 00 and quote the number of the invoice.",
)
RATE = NewRate(country="DE", name="VAT", percent=Decimal(19), starts_on=date(2007, 1, 1))
REASON = "the demo"
#: The part of the largest line that is credited where the organisation complained.
CREDITED = Decimal("0.1")
MOST_INVOICES = 1_000


def issue(number: int) -> int:
    """Finalise every ended month of the demo's organisations, settle some of it; return how many invoices were finalised.

    Of the first organisation all are paid, the second was credited a part, the third owes. A second call finalises and
    settles nothing twice.
    """
    if not parties.current_seller().may_issue:
        parties.change_seller(operator=SELLER, party=ISSUER, reason=REASON)
        table.enter(operator=SELLER, rate=RATE, reason=REASON)
    slugs = [one.slug for one in organisations(number)]
    drafts = [row for row in issued.issued(limit=MOST_INVOICES) if row.tenant_slug in slugs and row.can_be_finalised]
    today = local_day(clock.now(), "UTC")
    for row in sorted(drafts, key=lambda one: (slugs.index(one.tenant_slug), one.period)):
        finalising.finalise(operator=SELLER, tenant_id=row.tenant_id, invoice_id=row.id)
        match slugs.index(row.tenant_slug) % 3:
            case 0:
                _pay(row, today)
            case 1:
                _credit(row)
    return len(drafts)


def _pay(row: InvoiceRow, today: date) -> None:
    _, invoice, _ = issued.for_seller(row.id)
    if invoice.due:
        received = paying.Received(amount=invoice.due.amount, received_on=today, reference=f"Transfer {invoice.number}")
        paying.mark_paid(operator=SELLER, tenant_id=row.tenant_id, invoice_id=row.id, received=received)


def _credit(row: InvoiceRow) -> None:
    _, _, lines = issued.for_seller(row.id)
    line = max(lines, key=lambda one: one.amount.amount, default=None)
    part = Money(line.amount.amount * CREDITED, row.currency).rounded() if line else None
    if line and part:
        crediting.credit(
            operator=SELLER,
            tenant_id=row.tenant_id,
            invoice_id=row.id,
            parts=[crediting.Part(line.id, part.amount)],
            reason="A device was slower than agreed for an afternoon.",
        )
