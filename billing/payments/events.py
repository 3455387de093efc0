"""Events of a payment provider in our terms, and what a set of them amounts to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from billing.money import Money
from billing.payments.requests import InvoiceState


class EventKind(StrEnum):
    """What happened. `OTHER` is stored and has no effect."""

    INVOICE_CREATED = "invoice_created"
    INVOICE_FINALISED = "invoice_finalised"
    INVOICE_PAID = "invoice_paid"
    INVOICE_PAYMENT_FAILED = "invoice_payment_failed"
    INVOICE_VOIDED = "invoice_voided"
    INVOICE_UNCOLLECTIBLE = "invoice_uncollectible"
    CHECKOUT_PAID = "checkout_paid"
    CHECKOUT_FAILED = "checkout_failed"
    CHECKOUT_EXPIRED = "checkout_expired"
    METHOD_SAVED = "method_saved"
    CHARGE_SUCCEEDED = "charge_succeeded"
    CHARGE_FAILED = "charge_failed"
    REFUND_PENDING = "refund_pending"
    REFUNDED = "refunded"
    REFUND_FAILED = "refund_failed"
    CREDITED = "credited"
    CREDIT_VOIDED = "credit_voided"
    DISPUTED = "disputed"
    DISPUTE_WON = "dispute_won"
    DISPUTE_LOST = "dispute_lost"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class PaymentEvent:
    """One event of a provider; `id` counts once, whatever the number of deliveries.

    `our_id` and `tenant_id` are what we put on the object, empty on one that is not ours. `external_id` is the object's,
    `payment` that of the payment behind it. `occurred_at` is for people: events arrive in any order.
    """

    id: str
    kind: EventKind
    our_id: str
    tenant_id: str
    purpose: str
    external_id: str
    payment: str
    amount: Money | None
    occurred_at: datetime
    customer: str = ""


@dataclass(frozen=True, slots=True)
class PaymentState:
    """What the events of one invoice, or of one top-up, amount to.

    `failed`: a payment failed and none succeeded. `paid`, `refunded`, `credited` are None if there is no such event.
    """

    state: InvoiceState
    failed: bool
    disputed: bool
    paid: Money | None
    refunded: Money | None
    credited: Money | None


#: Later states; a paid invoice stays paid, and one that was written off may be paid.
RANK: dict[EventKind, tuple[int, InvoiceState]] = {
    EventKind.INVOICE_CREATED: (0, "draft"),
    EventKind.INVOICE_FINALISED: (1, "open"),
    EventKind.INVOICE_PAYMENT_FAILED: (1, "open"),
    EventKind.CHECKOUT_FAILED: (1, "open"),
    EventKind.CHARGE_FAILED: (1, "open"),
    EventKind.INVOICE_UNCOLLECTIBLE: (2, "uncollectible"),
    EventKind.INVOICE_VOIDED: (3, "void"),
    EventKind.CHECKOUT_EXPIRED: (3, "void"),
    EventKind.INVOICE_PAID: (4, "paid"),
    EventKind.CHECKOUT_PAID: (4, "paid"),
    EventKind.CHARGE_SUCCEEDED: (4, "paid"),
}
FAILURES = {EventKind.INVOICE_PAYMENT_FAILED, EventKind.CHECKOUT_FAILED, EventKind.CHARGE_FAILED}


def payment_state(events: Iterable[PaymentEvent]) -> PaymentState:
    """Return what events amount to, in any order and with any repetition."""
    known = {event.id: event for event in events}.values()
    rank, state = max((RANK[event.kind] for event in known if event.kind in RANK), default=(0, "draft"))
    paid = {event.payment or event.external_id: event.amount for event in known if RANK.get(event.kind, (0,))[0] == 4}
    return PaymentState(
        state=state,
        failed=rank < 4 and any(event.kind in FAILURES for event in known),
        disputed=bool(_ids(known, EventKind.DISPUTED) - _ids(known, EventKind.DISPUTE_WON, EventKind.DISPUTE_LOST)),
        paid=_sum(paid.values()),
        refunded=_standing(known, EventKind.REFUNDED, EventKind.REFUND_FAILED),
        credited=_standing(known, EventKind.CREDITED, EventKind.CREDIT_VOIDED),
    )


def _ids(events: Iterable[PaymentEvent], *kinds: EventKind) -> set[str]:
    return {event.external_id for event in events if event.kind in kinds}


def _standing(events: Iterable[PaymentEvent], done: EventKind, undone: EventKind) -> Money | None:
    """Return the sum over objects that were done and never undone; each object counts once."""
    events = list(events)
    undone_ids = {event.external_id for event in events if event.kind == undone}
    amounts = {event.external_id: event.amount for event in events if event.kind == done}
    return _sum(amount for object_id, amount in amounts.items() if object_id not in undone_ids)


def _sum(amounts: Iterable[Money | None]) -> Money | None:
    total = None
    for amount in amounts:
        if amount is not None:
            total = amount if total is None else total + amount
    return total
