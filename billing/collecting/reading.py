"""What a step needs from our rows, read in one scope before the payment provider is asked."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from billing.collecting.accounts import account_of
from billing.invoices.paying import due_of
from billing.models import Collection, CreditNote, Invoice, Payment, PaymentAccount
from billing.models.collecting import CREDIT, PUSH
from billing.models.invoicing import FINALISED
from billing.models.settling import REVERSAL
from billing.money import Money
from billing.payments.requests import CreditNote as Credit
from billing.payments.requests import Draft, InvoiceRef, Line, Refund
from billing.queries.lines import frozen_lines
from tenants.isolation.scoping import tenant_scope

#: Lines at the provider: one for each project, as its pages are short and it accepts 250; our document has all.
MOST_LINES = 100


@dataclass(frozen=True, slots=True)
class Work:
    """A step with its invoice, the tenant's account at the provider, and what was pushed before; `due` is as we have it."""

    step: Collection
    tenant_id: UUID
    invoice: Invoice
    account: PaymentAccount
    pushed: str
    due: Money

    @property
    def reference(self) -> InvoiceRef:
        """The invoice at the provider."""
        return InvoiceRef(str(self.invoice.pk), self.tenant_id, self.pushed)


def work_of(step_id: UUID, tenant_id: UUID) -> Work:
    """Return a step that was claimed, with what it needs."""
    with tenant_scope(tenant_id):
        step = Collection.objects.select_related("invoice").get(pk=step_id)
        invoice = step.invoice
        pushed = Collection.objects.filter(invoice=invoice, step=PUSH).values_list("external_id", flat=True).first()
        return Work(
            step,
            tenant_id,
            invoice,
            account_of(invoice.customer.get("name", ""), invoice.customer.get("email", "")),
            pushed or "",
            due_of(invoice),
        )


def draft_of(work: Work) -> Draft:
    """Return the invoice as it is pushed: a line for each project and tax rate, always the same."""
    invoice = work.invoice
    with tenant_scope(work.tenant_id):
        stored = frozen_lines({invoice.pk: invoice.currency})[invoice.pk]
    sums: dict[UUID | None, tuple[str, Money]] = {}
    for line in stored:
        project = line.project_id if len(stored) <= MOST_LINES else None
        name = (line.project_name if project else "") or "All projects"
        before = sums[project][1] if project in sums else Money.zero(invoice.currency)
        sums[project] = (name, before + line.amount)
    if not sums:
        sums[None] = (str(invoice), Money(invoice.subtotal or Decimal(0), invoice.currency))
    lines = [Line(f"{invoice.pk}:{project or 'all'}", name, money.minor) for project, (name, money) in sums.items()]
    lines += [
        Line(f"{invoice.pk}:tax:{at}", f"Tax, {row['rate']} %", Money(Decimal(row["tax"]), invoice.currency).minor)
        for at, row in enumerate(invoice.taxes)
    ]
    days = (invoice.due_on - invoice.finalised_at.date()).days if invoice.due_on and invoice.finalised_at else 0
    return Draft(
        our_id=str(invoice.pk),
        tenant_id=work.tenant_id,
        customer=work.account.external_id,
        currency=invoice.currency,
        number=invoice.label,
        days_until_due=max(days, 0),
        lines=tuple(line for line in lines if line.amount),
    )


def credit_of(work: Work) -> Credit:
    """Return what lowers the amount due at the provider: a credit note of ours, or a payment that it did not collect."""
    step, currency = work.step, work.invoice.currency
    with tenant_scope(work.tenant_id):
        if step.step == CREDIT:
            note = CreditNote.objects.get(pk=step.object_id)
            line = Line(str(note.pk), f"Credit note {note.label}", Money(note.off_due, currency).minor)
        else:
            paid = Payment.objects.get(pk=step.object_id)
            line = Line(str(paid.pk), "Payment received outside", Money(paid.amount, currency).minor)
    return Credit(line.our_id, work.reference, currency, (line,))


def refund_of(work: Work) -> Refund:
    """Return the refund of a step; after one that failed the next has an id of its own."""
    step = work.step
    with tenant_scope(work.tenant_id):
        row = Payment.objects.get(pk=step.object_id)
    our_id = str(row.pk) if step.attempt == 1 else f"{row.pk}:{step.attempt}"
    return Refund(our_id, work.tenant_id, step.about, Money(row.amount, row.currency))


def is_reversed(work: Work) -> bool:
    """Whether the payment of a step was reversed before it was recorded at the provider."""
    with tenant_scope(work.tenant_id):
        return Payment.objects.filter(method=REVERSAL, external_id=str(work.step.object_id)).exists()


def is_open(work: Work) -> bool:
    """Whether we still expect money for the invoice."""
    return work.invoice.state == FINALISED
