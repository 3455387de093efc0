"""Disputes of the payer's bank: it takes a payment back for now, then permanently (lost), or returns it (won).

Each dispute has its effect once. Its events arrive in any order and any number of times: one that was won stays won, one
that was lost began, whatever arrives later.
"""

from __future__ import annotations

from django.db.models import QuerySet

from billing.collecting.finishing import NOTICE
from billing.collecting.receiving import GATEWAY
from billing.invoices.finalising import locked
from billing.invoices.paying import INVOICE_PAID, Received, book, take_back_lost
from billing.models import Collection, GatewayEvent, Invoice, Payment
from billing.models.collecting import DISPUTE_KINDS, PUSH
from billing.models.invoicing import TOP_UP
from billing.models.settling import DISPUTE, PAYMENT, REFUND
from billing.money import Money
from billing.payments.chosen import payment_gateway
from billing.payments.events import EventKind
from billing.platform_events import DISPUTED, LOST
from billing.rating.calendar import local_day
from billing.wallets.unused import put_back_won, take_disputed, taken_by
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import operation, unchanged
from tenants.clock import DatabaseNow
from tenants.notifications.notifications import notify
from tenants.operators.platform_events.raising import raise_event


def apply(event: GatewayEvent) -> None:
    """Apply one event of a dispute, in the scope of its tenant and the transaction that marks it as handled."""
    paid = Payment.objects.filter(kind=PAYMENT, method=payment_gateway().name, external_id=event.payment).first()
    if paid is None:
        return
    invoice = locked(paid.invoice_id)
    before = set(_handled(event.payment).filter(external_id=event.external_id).values_list("kind", flat=True))
    if event.kind in before or EventKind.DISPUTE_WON in before:
        return
    if event.kind == EventKind.DISPUTE_LOST:
        _lose(event, paid, invoice, begun=bool(before))
    elif event.kind == EventKind.DISPUTE_WON and before:
        _win(event, paid, invoice)
    elif event.kind == EventKind.DISPUTED and not before:
        _begin(event, paid, invoice)


def _begin(event: GatewayEvent, paid: Payment, invoice: Invoice) -> None:
    Collection.objects.filter(invoice=invoice, step=PUSH, disputed_at=None).update(disputed_at=DatabaseNow())
    if invoice.kind == TOP_UP:
        # The bank has the money: what is left of it pays no work. What was used is due again if the dispute is lost.
        take_disputed(invoice, _amount(event, paid), dispute=event.external_id, payment=event.payment)
    _notify(
        invoice,
        f"A payment of {invoice.label} is disputed",
        "The bank of the payer took a payment back for now. The seller answers it at the payment provider.",
    )
    _raise(DISPUTED, event, paid)


def _lose(event: GatewayEvent, paid: Payment, invoice: Invoice, *, begun: bool) -> None:
    """Let what the bank keeps be due again. Of a top-up that is what was used; what is in the wallet leaves it."""
    amount = _amount(event, paid)
    if invoice.kind == TOP_UP:
        if begun:
            amount -= min(amount, taken_by(invoice, event.external_id))
        amount -= take_disputed(invoice, amount, dispute=event.external_id, payment=event.payment)
    actor = Actor.system(invoice.tenant_id, GATEWAY)
    lost = take_back_lost(actor=actor, payment=paid, amount=amount, dispute=event.external_id, by=GATEWAY)
    words = f"{lost.plain()} of {invoice.label} is due again." if lost else "Nothing of it is due again."
    if invoice.kind != TOP_UP:
        # A credit note may have put a part of the payment into the wallet: the bank has that money, too.
        taken = take_disputed(invoice, amount - lost, dispute=event.external_id, payment=event.payment)
        words += f" {taken.plain()} of credit left the wallet." if taken else ""
    _show_open(invoice, but=event)
    _notify(
        invoice,
        f"A payment of {invoice.label} was taken back",
        f"The bank of the payer decided against the seller, and keeps the payment. {words}",
    )
    _raise(LOST, event, paid)


def _win(event: GatewayEvent, paid: Payment, invoice: Invoice) -> None:
    """Give back what the dispute took. One that was won before its beginning was known took nothing."""
    back = put_back_won(invoice, dispute=event.external_id, payment=event.payment)
    receive_won(actor=Actor.system(invoice.tenant_id, GATEWAY), payment=paid, dispute=event.external_id)
    _show_open(invoice, but=event)
    words = f" {back.plain()} of credit is in the wallet again." if back else ""
    _notify(
        invoice,
        f"A payment of {invoice.label} is not disputed any more",
        f"The bank of the payer decided for the seller, who keeps the payment.{words}",
    )


@operation(INVOICE_PAID)
def receive_won(*, actor: Actor, payment: Payment, dispute: str) -> None:
    """Record that a bank returned what it took by a dispute that was lost before. More than is due goes back to the payer."""
    taken = Payment.objects.filter(kind=REFUND, method=DISPUTE, external_id=dispute).first()
    if taken is None:
        unchanged("the dispute was not lost before")
        return
    received = Received(
        amount=taken.amount,
        received_on=local_day(clock.now(), "UTC"),
        reference=taken.reference,
        method=DISPUTE,
        external_id=f"{dispute} won",
        back_by=payment.method,
    )
    book(actor=actor, invoice=locked(payment.invoice_id), received=received, by=GATEWAY)


def _handled(*payments: str) -> QuerySet[GatewayEvent]:
    """Return the events of disputes that had an effect: those of an unknown payment had none."""
    return GatewayEvent.objects.filter(payment__in=payments, kind__in=DISPUTE_KINDS).exclude(about=None)


def _show_open(invoice: Invoice, *, but: GatewayEvent) -> None:
    """Show an invoice as disputed only while a dispute of it is open, besides the one that ends now."""
    payments = Payment.objects.filter(invoice=invoice, method=payment_gateway().name, kind=PAYMENT)
    known = list(_handled(*payments.values_list("external_id", flat=True)).values_list("kind", "external_id"))
    ended = {name for kind, name in known if kind != EventKind.DISPUTED} | {but.external_id}
    if not {name for _, name in known} - ended:
        Collection.objects.filter(invoice=invoice, step=PUSH).update(disputed_at=None)


def _amount(event: GatewayEvent, paid: Payment) -> Money:
    """Return how much a dispute takes: never more than the payment was."""
    named = event.amount if event.amount is not None and event.currency == paid.currency else paid.amount
    return Money(min(named, paid.amount), paid.currency)


def _notify(invoice: Invoice, title: str, body: str) -> None:
    notify(permission="invoices.manage", kind=NOTICE, title=title, body=body, path=f"invoices/{invoice.pk}/")


def _raise(name: str, event: GatewayEvent, paid: Payment) -> None:
    path = f"invoices/{paid.invoice_id}/"
    raise_event(name, of=("invoice", paid.invoice_id), path=path, once=event.external_id, about=paid.tenant_id)
