"""What the payment provider has received for an invoice: read back, and recorded once, whatever led to the reading."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from billing.collecting.steps import order
from billing.invoices.finalising import locked
from billing.invoices.paying import INVOICE_PAID, Received, book
from billing.models import Collection, Invoice, Payment
from billing.models.invoicing import FINALISED
from billing.money import Money
from billing.payments.gateway import PaymentGateway
from billing.payments.requests import InvoiceRef
from billing.payments.requests import Payment as Arrived
from billing.rating.calendar import local_day
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import operation, unchanged
from tenants.isolation.scoping import current_tenant_id, tenant_scope
from tenants.models import Tenant

#: How often an open invoice is read back, in case an event is lost, and a settled one, until nothing can change any more.
OPEN_EVERY, SETTLED_EVERY = timedelta(hours=1), timedelta(days=1)
LOOK_FOR = timedelta(days=120)
GATEWAY = "payment provider"


def look(gateway: PaymentGateway, push_id: UUID, tenant_id: UUID) -> None:
    """Read what the provider has received for a pushed invoice, and record what is new. Call it with no transaction open.

    Raises `OutcomeUnknown`, `Later`, `GatewayRefused`.
    """
    with tenant_scope(tenant_id):
        row = Collection.objects.get(pk=push_id)
    reference = InvoiceRef(str(row.object_id), tenant_id, row.external_id)
    found = gateway.payments(reference)
    actor = Actor.system(tenant_id, GATEWAY)
    for one in found:
        receive(actor=actor, invoice_id=row.object_id, arrived=one, method=gateway.name)
    with tenant_scope(tenant_id):
        invoice = Invoice.objects.get(pk=row.object_id)
        total = sum((one.amount for one in found), Money.zero(invoice.currency))
        every = OPEN_EVERY if invoice.state == FINALISED else SETTLED_EVERY
        now = clock.now()
        ends = (row.finished_at or now) + LOOK_FOR
        following = now + every if invoice.state == FINALISED or now < ends else None
        # An event that arrives during the reading asks for another one.
        Collection.objects.filter(pk=push_id, look_at=row.look_at).update(look_at=following)
        Collection.objects.filter(pk=push_id).update(looked_at=now, received=total.amount)


@operation(INVOICE_PAID)
def receive(*, actor: Actor, invoice_id: UUID, arrived: Arrived, method: str) -> None:
    """Record a payment that arrived at the provider. Idempotent; what is more than the amount due goes back there."""
    invoice = locked(invoice_id)
    if Payment.objects.filter(method=method, external_id=arrived.external_id).exists():
        unchanged("the payment is known")
        return
    zone = Tenant.objects.values_list("timezone", flat=True).get(pk=current_tenant_id())
    received = Received(
        amount=arrived.amount.amount,
        received_on=local_day(clock.now(), zone),
        reference=arrived.external_id,
        method=method,
        external_id=arrived.external_id,
    )
    book(actor=actor, invoice=invoice, received=received, by=GATEWAY)
    order(invoice_id)
