"""One walk through an account: on the stand-in always, and on Stripe itself where STRIPE_TEST_KEY holds a test key."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from billing.money import Money
from billing.payments.errors import Declined, GatewayRefused
from billing.payments.events import PaymentEvent, payment_state
from billing.payments.requests import (
    Charge,
    CheckoutRequest,
    CreditNote,
    Draft,
    InvoiceRef,
    Kind,
    Line,
    Lookup,
    Payer,
    Refund,
    Timing,
)
from billing.payments.stripe_gateway import Account, StripeGateway
from billing.payments.webhooks import event_of
from tests.fakes.stripe import stripe_server
from tests.fakes.stripe.server import API_KEY
from tests.unit.billing.payments.test_fake_shapes import object_faults

KEY = os.environ.get("STRIPE_TEST_KEY", "")
real = pytest.param(
    "stripe",
    marks=[
        pytest.mark.skipif(not KEY, reason="STRIPE_TEST_KEY is not set: nothing is tried on Stripe itself"),
        pytest.mark.enable_socket,
        pytest.mark.services,
    ],
)
TEN = Money(Decimal("10.00"), "EUR")


class Walk:
    """A tenant of its own in an account."""

    def __init__(self, gateway: StripeGateway, now: datetime) -> None:
        self.gateway, self.timing = gateway, Timing(now, now)
        self.tenant, self.run = uuid.uuid4(), uuid.uuid4().hex[:12]
        self.customer = gateway.ensure_customer(Payer(self.tenant, "Acme", f"{self.run}@acme.example"), self.timing)

    def card(self, name: str) -> str:
        return self.gateway._stripe.v1.payment_methods.attach(name, {"customer": self.customer}).id

    def push(self, *amounts: int) -> InvoiceRef:
        lines = tuple(Line(f"{self.run}-{at}", f"Line {at}", amount) for at, amount in enumerate(amounts))
        draft = Draft(f"invoice-{self.run}", self.tenant, self.customer, "EUR", f"EX-{self.run}", 30, lines)
        first = self.gateway.push_invoice(draft, self.timing)
        assert self.gateway.push_invoice(draft, self.timing) == first
        assert (first.total, first.state) == (draft.total, "open")
        assert first.payment_url.startswith("http")
        return InvoiceRef(draft.our_id, self.tenant, first.external_id)


@pytest.fixture(params=["stand-in", real])
def walk(request: pytest.FixtureRequest) -> Iterator[Walk]:
    """A walk through an account."""
    if request.param == "stripe":
        assert KEY.startswith(("sk_test_", "rk_test_")), "STRIPE_TEST_KEY is no key of test mode"
        yield Walk(StripeGateway(Account(KEY)), datetime.now(UTC))
    else:
        with stripe_server() as fake:
            yield Walk(StripeGateway(Account(API_KEY, fake.url)), datetime.now(UTC))


def test_an_invoice_is_collected_credited_and_refunded(walk: Walk) -> None:
    gateway, timing = walk.gateway, walk.timing
    invoice = walk.push(1100, -100)
    with pytest.raises(Declined) as refusal:
        gateway.pay(invoice, walk.card("pm_card_chargeCustomerFail"), 1, timing)
    assert refusal.value.decline_code == "generic_decline"
    assert gateway.pay(invoice, walk.card("pm_card_visa"), 2, timing) == "paid"
    (payment,) = gateway.payments(invoice)
    assert payment.amount == TEN
    note = CreditNote(f"credit-{walk.run}", invoice, "EUR", (Line("c", "Credit", 300),), refund=True)
    assert gateway.credit_note(note, timing) == gateway.credit_note(note, timing)
    refund = Refund(f"refund-{walk.run}", walk.tenant, payment.external_id, Money(Decimal(2), "EUR"))
    assert gateway.refund(refund, timing) == gateway.refund(refund, timing)
    with pytest.raises(GatewayRefused):
        gateway.refund(Refund(f"more-{walk.run}", walk.tenant, payment.external_id, TEN), timing)
    found = gateway.read_back(Lookup(Kind.INVOICE, invoice.our_id, walk.customer))
    assert found is not None
    assert (found.external_id, found.state, found.amount) == (invoice.external_id, "paid", TEN)
    listed = gateway._stripe.v1.invoices.list({"customer": walk.customer})
    assert [fault for one in listed for fault in object_faults(one, type(one), "invoice")] == []


def test_the_events_of_an_invoice_amount_to_its_state(walk: Walk) -> None:
    invoice = walk.push(1000)
    walk.gateway.pay(invoice, walk.card("pm_card_visa"), 1, walk.timing)
    events: list[PaymentEvent] = [
        event_of(one.to_dict(for_json=True)) for one in walk.gateway._stripe.v1.events.list({"limit": 100})
    ]
    state = payment_state(one for one in events if one.our_id == invoice.our_id)
    assert (state.state, state.paid) == ("paid", TEN)


def test_unpaid_invoices_are_voided_or_written_off(walk: Walk) -> None:
    invoice = walk.push(1000)
    assert walk.gateway.write_off(invoice, walk.timing) == "uncollectible"
    assert walk.gateway.void(invoice, walk.timing) == "void"


def test_an_invoice_paid_elsewhere_has_no_payment_here(walk: Walk) -> None:
    invoice = walk.push(1000)
    assert walk.gateway.mark_paid(invoice, walk.timing) == "paid"
    assert walk.gateway.payments(invoice) == ()


def test_a_top_up_is_charged_and_pages_are_made(walk: Walk) -> None:
    gateway, timing = walk.gateway, walk.timing
    card = walk.card("pm_card_visa")
    gateway.set_default_method(walk.customer, card)
    assert [(one.last4, one.default) for one in gateway.payment_methods(walk.customer)] == [("4242", True)]
    charge = Charge(f"top-up-{walk.run}", walk.tenant, walk.customer, card, TEN)
    assert gateway.charge(charge, timing) == gateway.charge(charge, timing)
    for purpose in ("top_up", "method"):
        request = CheckoutRequest(
            f"{purpose}-{walk.run}", walk.tenant, walk.customer, purpose, TEN, "Top-up",
            "https://ours.example/done", "https://ours.example/back",
        )  # fmt: skip
        page = gateway.checkout(request, timing)
        assert page.url.startswith("http")
        gateway.expire_checkout(page.external_id)
    gateway.remove_method(card)
    assert gateway.payment_methods(walk.customer) == ()
