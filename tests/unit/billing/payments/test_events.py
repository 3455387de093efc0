"""What events amount to does not depend on their order or number."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import permutations

import pytest

from billing.money import Money
from billing.payments.errors import Declined
from billing.payments.events import EventKind, PaymentEvent, payment_state
from billing.payments.requests import Refund
from tests.unit.billing.payments.conftest import START, World


def euros(amount: str) -> Money:
    return Money(Decimal(amount), "EUR")


def event(kind: EventKind, number: int, amount: str = "12", external_id: str = "in_1") -> PaymentEvent:
    return PaymentEvent(
        f"evt_{number}",
        kind,
        "invoice-1",
        "",
        "invoice",
        external_id,
        "",
        euros(amount),
        START + timedelta(hours=number),
    )


LIFE = [
    event(EventKind.INVOICE_CREATED, 1, "0"),
    event(EventKind.INVOICE_FINALISED, 2),
    event(EventKind.INVOICE_PAYMENT_FAILED, 3),
    event(EventKind.INVOICE_PAID, 4),
    event(EventKind.REFUNDED, 5, "2", "re_1"),
]


def test_all_orders_of_a_life_with_each_event_twice_give_one_state() -> None:
    orders = list(permutations(LIFE))
    assert len(orders) == 120
    found = {payment_state([*order, *reversed(order)]) for order in orders}
    found |= {payment_state([one for one in order for _ in range(2)]) for order in orders}
    (state,) = found
    assert (state.state, state.failed, state.paid, state.refunded) == ("paid", False, euros("12"), euros("2"))


def test_the_real_events_of_a_life_give_one_state_in_every_order(world: World) -> None:
    """Five events of one invoice as the provider signs them: finalised, failed, paid, credited, and the credit's refund."""
    world.fake.add_endpoint("http://webhooks.example/")
    pushed, invoice = world.push()
    card, declining = (world.card(world.customer(), name) for name in ("pm_card_visa", "pm_card_chargeCustomerFail"))

    with pytest.raises(Declined):
        world.gateway.pay(invoice, declining, 1, world.timing())
    world.gateway.pay(invoice, card, 2, world.timing())
    payment = world.gateway.payments(invoice)[0].external_id
    world.gateway.refund(Refund("refund-1", invoice.tenant_id, payment, euros("2")), world.timing())
    events: list[PaymentEvent] = []

    def receive(url: str, body: bytes, signature: str) -> int:
        events.append(world.gateway.event(body, signature, world.now))
        return 200

    world.fake.events.deliver(receive)
    ours = [one for one in events if one.our_id in ("invoice-1", "refund-1") and one.kind != EventKind.OTHER]
    assert sorted(one.kind for one in ours) == [
        "invoice_created", "invoice_finalised", "invoice_paid", "invoice_payment_failed", "refunded",
    ]  # fmt: skip
    states = {payment_state([*order, *order]) for order in permutations(ours)}
    (state,) = states
    assert (state.state, state.failed, state.paid, state.refunded) == ("paid", False, pushed.total, euros("2"))


@pytest.mark.parametrize(
    ("kinds", "state"),
    [
        ([], "draft"),
        ([EventKind.INVOICE_VOIDED, EventKind.INVOICE_FINALISED], "void"),
        ([EventKind.INVOICE_PAID, EventKind.INVOICE_UNCOLLECTIBLE], "paid"),
        ([EventKind.INVOICE_UNCOLLECTIBLE, EventKind.INVOICE_FINALISED], "uncollectible"),
        ([EventKind.OTHER, EventKind.DISPUTED], "draft"),
    ],
)
def test_the_furthest_state_counts(kinds: list[EventKind], state: str) -> None:
    assert payment_state(event(kind, at) for at, kind in enumerate(kinds)).state == state


def test_a_failed_refund_gives_nothing_back_in_either_order() -> None:
    done, failed = event(EventKind.REFUNDED, 1, "2", "re_1"), event(EventKind.REFUND_FAILED, 2, "2", "re_1")
    other = event(EventKind.REFUNDED, 3, "3", "re_2")
    assert payment_state([done, failed, other]).refunded == payment_state([other, failed, done]).refunded == euros("3")
    assert payment_state([failed, done]).refunded is None


def test_a_top_up_reported_twice_is_paid_once() -> None:
    page = replace(event(EventKind.CHECKOUT_PAID, 1, "50", "cs_1"), payment="pi_1")
    charge = replace(event(EventKind.CHARGE_SUCCEEDED, 2, "50", "pi_1"), payment="pi_1")
    assert payment_state([page, charge]).paid == euros("50")
