"""Payments: what arrives for a standing invoice, when it is paid, and the reversal of what was recorded wrongly."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from django.db import transaction

from billing.events import InvoicePaid, PaymentReversed
from billing.invoices.finalising import locked
from billing.invoices.posting import post_payment, post_refund
from billing.invoices.refunds import MANUAL
from billing.invoices.topping_up import fill
from billing.models import Invoice, Payment
from billing.models.invoicing import FINALISED, PAID, TOP_UP, VOID
from billing.models.settling import DISPUTE, PAYMENT, REFUND, REVERSAL
from billing.money import Money, fineness_fault
from billing.rating.calendar import local_day
from billing.wallets.applying import refundable
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, Invalid, NotFound
from tenants.events.events import publish
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act

INVOICE_PAID = AuditAction("billing.invoice.paid")
PAYMENT_REVERSED = AuditAction("billing.payment.reversed")
LONGEST_REFERENCE = 200
#: What a refund of money that an invoice did not need refers to.
TOO_MUCH = "paid more than was due"


class NotPayable(Conflict):
    """Only an invoice that is finalised, and not void, takes payments."""

    code = "invoice_not_payable"


class NotReversible(Conflict):
    """Only a payment that was recorded by hand, of an invoice that is no top-up, is reversed. Issue a credit note instead."""

    code = "payment_not_reversible"


class AlreadyReversed(Conflict):
    """This payment is reversed already."""

    code = "payment_reversed"


@dataclass(frozen=True, kw_only=True)
class Received:
    """Money that arrived; `external_id` is the gateway's, and counts once. What is too much goes back by `back_by`, else `method`."""

    amount: Decimal
    received_on: date
    reference: str = ""
    method: str = MANUAL
    external_id: str = ""
    back_by: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """How much of a payment is taken back, by which method, known as what."""

    amount: Money
    method: str
    external_id: str
    reference: str
    by: str


def mark_paid(*, operator: Operator, tenant_id: UUID, invoice_id: UUID, received: Received) -> None:
    """Record by hand a payment of a standing invoice, in whole or in part.

    Raises NotFound, NotPayable, and Invalid for more than is due, a day to come, or one before the invoice was issued.
    """
    operator.require("invoices.manage")
    with transaction.atomic():
        label = _receive(
            actor=Actor.system(tenant_id, "operator"), invoice_id=invoice_id, received=received, by=operator.label
        )
        record_act(operator, INVOICE_PAID, target=("invoice", invoice_id, label))


def reverse(*, operator: Operator, tenant_id: UUID, invoice_id: UUID, payment_id: UUID, reason: str) -> None:
    """Take back a payment that was recorded by hand and never arrived, once: what it paid is due again.

    Raises NotFound, NotReversible, AlreadyReversed, and Invalid for a reason that is too short or too long.
    """
    operator.require("invoices.manage")
    reason = check_reason(reason)
    if len(reason) > LONGEST_REFERENCE:
        raise Invalid(fields={"reason": [f"Give at most {LONGEST_REFERENCE} characters."]})
    with transaction.atomic():
        label = _reverse(
            actor=Actor.system(tenant_id, "operator"),
            invoice_id=invoice_id,
            payment_id=payment_id,
            reason=reason,
            by=operator.label,
        )
        record_act(operator, PAYMENT_REVERSED, target=("invoice", invoice_id, label), reason=reason)


def due_of(invoice: Invoice) -> Money:
    """Return what is still to be paid of a standing invoice; nothing of a void one."""
    total = Decimal(0) if invoice.state == VOID else invoice.total or Decimal(0)
    return Money(total - invoice.credited - invoice.paid + invoice.returned, invoice.currency)


def settle_state(
    invoice: Invoice, *, paid: Money | None = None, credited: Money | None = None, returned: Money | None = None
) -> None:
    """Add to what is paid, credited or returned of a locked invoice; it is paid once nothing is due, a void one stays void."""
    changed = ["state"]
    for name, money in (("paid", paid), ("credited", credited), ("returned", returned)):
        if money is not None:
            setattr(invoice, name, getattr(invoice, name) + money.amount)
            changed.append(name)
    if invoice.state != VOID:
        invoice.state = FINALISED if due_of(invoice) else PAID
    invoice.save(update_fields=changed)


def book(*, actor: Actor, invoice: Invoice, received: Received, by: str) -> None:
    """Store, post and report money that arrived for a locked invoice; what is more than the amount due goes back.

    Call it within an operation.
    """
    due, amount = due_of(invoice), Money(received.amount, invoice.currency)
    excess = max(amount - due, Money.zero(invoice.currency))
    for kind, money, note in ((PAYMENT, amount, received.reference.strip()), (REFUND, excess, TOO_MUCH)):
        if money:
            Payment.objects.create(
                invoice=invoice,
                kind=kind,
                method=received.method if kind == PAYMENT else received.back_by or received.method,
                amount=money.amount,
                currency=invoice.currency,
                reference=note,
                external_id=received.external_id if kind == PAYMENT else "",
                received_on=received.received_on,
                recorded_by=by[:254],
            )
    post_payment(invoice, amount)
    if excess:
        post_refund(invoice, excess)
    settle_state(invoice, paid=amount, returned=excess)
    fill(invoice, amount - excess, by=by)
    record(
        INVOICE_PAID,
        actor=actor,
        target=("invoice", invoice.pk, invoice.label),
        changes={"due": [due.json(), due_of(invoice).json()]},
        reason=received.reference,
    )
    publish(
        InvoicePaid(
            tenant_id=actor.tenant_id,
            invoice_id=invoice.pk,
            number=invoice.label,
            amount=amount.amount,
            due=due_of(invoice).amount,
            currency=invoice.currency,
        )
    )


@operation(INVOICE_PAID)
def _receive(*, actor: Actor, invoice_id: UUID, received: Received, by: str) -> str:
    invoice = locked(invoice_id)
    known = Payment.objects.filter(method=received.method, external_id=received.external_id)
    if received.external_id and known.exists():
        unchanged("the payment is known")
        return invoice.label
    if invoice.state not in (FINALISED, PAID):
        raise NotPayable
    due = due_of(invoice)
    if faults := _faults(received, due, issued=invoice.finalised_at):
        raise Invalid(fields=faults)
    book(actor=actor, invoice=invoice, received=received, by=by)
    return invoice.label


@operation(PAYMENT_REVERSED)
def _reverse(*, actor: Actor, invoice_id: UUID, payment_id: UUID, reason: str, by: str) -> str:
    invoice = locked(invoice_id)
    payment = Payment.objects.filter(invoice=invoice, pk=payment_id).first()
    if payment is None:
        raise NotFound
    if invoice.kind == TOP_UP or (payment.kind, payment.method) != (PAYMENT, MANUAL):
        raise NotReversible
    if Payment.objects.filter(method=REVERSAL, external_id=str(payment_id)).exists():
        raise AlreadyReversed
    amount = Money(payment.amount, payment.currency)
    # A credit note into the wallet took a part of what was paid, and is no refund.
    left = min(refundable(invoice), Money(invoice.paid - invoice.returned, invoice.currency))
    if amount > left:
        raise NotReversible(
            f"Money of this invoice went back to the payer or into the wallet: {left.plain()} of its payments are left, and this "
            f"one is {amount.plain()}."
        )
    _take_back(actor, payment, invoice, Taken(amount, REVERSAL, str(payment_id), reason, by))
    return invoice.label


@operation(PAYMENT_REVERSED)
def take_back_lost(*, actor: Actor, payment: Payment, amount: Money, dispute: str, by: str) -> Money:
    """Take back what the payer's bank took of a payment permanently, once for each dispute; return how much is due again.

    What a refund or a credit note returned before is not.
    """
    invoice = locked(payment.invoice_id)
    left = min(amount, Money(invoice.paid - invoice.returned, invoice.currency))
    if not left or Payment.objects.filter(method=DISPUTE, external_id=dispute).exists():
        unchanged("the money went back before, or the dispute is known")
        return Money.zero(invoice.currency)
    _take_back(actor, payment, invoice, Taken(left, DISPUTE, dispute, payment.external_id, by))
    return left


def _take_back(actor: Actor, payment: Payment, invoice: Invoice, taken: Taken) -> None:
    amount, due = taken.amount, due_of(invoice)
    Payment.objects.create(
        invoice=invoice,
        kind=REFUND,
        method=taken.method,
        amount=amount.amount,
        currency=payment.currency,
        reference=taken.reference,
        external_id=taken.external_id,
        received_on=local_day(clock.now(), "UTC"),
        recorded_by=taken.by[:254],
    )
    post_payment(invoice, -amount, kind="reversed")
    settle_state(invoice, returned=amount)
    record(
        PAYMENT_REVERSED,
        actor=actor,
        target=("invoice", invoice.pk, invoice.label),
        changes={"payment": [str(payment.pk), None], "due": [due.json(), due_of(invoice).json()]},
        reason=taken.reference,
    )
    publish(
        PaymentReversed(
            tenant_id=actor.tenant_id,
            invoice_id=invoice.pk,
            number=invoice.label,
            amount=amount.rounded().amount,
            due=due_of(invoice).rounded().amount,
            currency=invoice.currency,
        )
    )


def _faults(received: Received, due: Money, *, issued: datetime | None) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {}
    amount = received.amount
    if not amount.is_finite() or amount <= 0:
        faults["amount"] = ["Give an amount above 0."]
    elif fault := fineness_fault(amount, due.currency):
        faults["amount"] = [fault]
    elif amount > due.amount:
        faults["amount"] = [f"{due.plain()} is due: record no more than that."]
    if received.received_on > local_day(clock.now(), "Pacific/Kiritimati"):
        faults["received_on"] = ["Give the day on which the money arrived, not one to come."]
    elif issued is not None and received.received_on < local_day(issued, "Pacific/Pago_Pago"):
        first = local_day(issued, "UTC")
        faults["received_on"] = [f"The invoice was issued on {first}: give the day on which its payment arrived."]
    if len(received.reference) > LONGEST_REFERENCE:
        faults["reference"] = [f"Give at most {LONGEST_REFERENCE} characters."]
    return faults
