"""Whom an email about an invoice goes to, and the orders to send one."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from billing.events import InvoiceMailDue, InvoiceSendOrdered
from billing.invoices.finalising import locked
from billing.invoices.parties import sends_invoices
from billing.models import Invoice
from billing.models.invoicing import FINALISED, PAID
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict
from tenants.events.events import publish, publish_all
from tenants.ids import uuid7
from tenants.isolation.scoping import current_tenant_id
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act
from tenants.rights import held

SEND_ORDERED = AuditAction("billing.invoice.send_ordered", while_closing=True)
#: What an email is: the invoice, a reminder of it, the last one, or that launches are stopped.
INVOICE, REMINDER, FINAL, STOPPED = "invoice", "reminder", "final", "stopped"
MOST_RECIPIENTS = 10


class CannotSend(Conflict):
    """Only a finalised invoice that is not void is sent."""

    code = "invoice_not_sendable"


def send(*, operator: Operator, tenant_id: UUID, invoice_id: UUID) -> None:
    """Have an invoice sent by email, at once and as often as this is called. Raises NotFound, CannotSend."""
    operator.require("invoices.manage")
    with transaction.atomic():
        label = _send(actor=Actor.system(tenant_id, "operator"), invoice_id=invoice_id)
        record_act(operator, SEND_ORDERED, target=("invoice", invoice_id, label))


@operation(SEND_ORDERED)
def _send(*, actor: Actor, invoice_id: UUID) -> str:
    invoice = locked(invoice_id)
    if invoice.state not in (FINALISED, PAID):
        raise CannotSend
    record(SEND_ORDERED, actor=actor, target=invoice)
    publish(InvoiceSendOrdered(tenant_id=actor.tenant_id, invoice_id=invoice_id))
    return invoice.label


def send_if_wanted(invoice_id: UUID) -> None:
    """Order the email of an invoice of the open scope that was just finalised, if the seller wants that."""
    if sends_invoices():
        order_mails(invoice_id, INVOICE)


def order_mails(invoice_id: UUID, kind: str) -> int:
    """Order an email about an invoice of the open scope for each recipient; return how many (control role).

    The recipient is the billing address of the contract, as the invoice states it; else those who manage invoices.
    """
    recipients = recipients_of(Invoice.objects.get(pk=invoice_id))
    publish_all(
        [
            InvoiceMailDue(tenant_id=current_tenant_id(), invoice_id=invoice_id, to=to, kind=kind, order_id=uuid7())
            for to in recipients
        ]
    )
    return len(recipients)


def recipients_of(invoice: Invoice) -> list[str]:
    """Return the addresses that emails about an invoice of the open scope go to."""
    if address := invoice.customer.get("email"):
        return [address]
    members = held.holding("invoices.manage").filter(user__is_active=True).order_by("id")
    return list(members.values_list("user__email", flat=True)[:MOST_RECIPIENTS])
