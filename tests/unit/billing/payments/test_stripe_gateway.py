"""The gateway through Stripe's own library, against the stand-in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal

import pytest

from billing.money import Money
from billing.payments.attempts import TRIES
from billing.payments.errors import Declined, GatewayRefused, Later, OutcomeUnknown
from billing.payments.gateway import PaymentGateway
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
)
from billing.payments.stripe_gateway import StripeGateway
from billing.payments.stripe_parts.amounts import from_stripe, to_stripe
from tests.fakes.stripe.faults import DROP, LIMITED, LOCKED, LOST_500
from tests.unit.billing.payments.conftest import TENANT, World


def money(amount: str, currency: str = "EUR") -> Money:
    return Money(Decimal(amount), currency)


def top_up(customer: str, amount: str = "50", our_id: str = "top-up-1") -> CheckoutRequest:
    return CheckoutRequest(
        our_id, TENANT, customer, "top_up", money(amount), "Top-up", "http://ours/done?s={CHECKOUT_SESSION_ID}", "http://ours/back"
    )  # fmt: skip


def test_it_is_a_gateway(world: World) -> None:
    gateway: PaymentGateway = world.gateway
    assert (gateway.name, gateway.collects) == ("stripe", True)


def test_a_tenant_is_one_customer(world: World) -> None:
    first = world.customer()
    world.advance(days=3)
    assert world.customer() == first
    assert len(world.fake.store.all("customer")) == 1
    assert world.fake.store.get("customer", first)["metadata"] == {"our_id": str(TENANT), "tenant_id": str(TENANT)}


def test_a_customer_is_found_after_its_email_changed(world: World) -> None:
    first = world.customer()
    world.advance(days=2)
    assert world.gateway.ensure_customer(Payer(TENANT, "Acme", "new@acme.example"), world.timing()) == first


def test_an_invoice_is_pushed_once_with_our_lines_number_and_total(world: World) -> None:
    pushed, invoice = world.push("invoice-1", 1234, -34)
    assert (pushed.total, pushed.state) == (money("12"), "open")
    assert pushed.payment_url.startswith(world.fake.url)
    stored = world.fake.store.get("invoice", invoice.external_id)
    assert stored["number"] == "EX-invoice-1"
    assert stored["metadata"] == {"our_id": "invoice-1", "tenant_id": str(TENANT), "purpose": "invoice"}
    lines = [(line["amount"], line["metadata"]["our_id"]) for line in stored["lines"]["data"]]
    assert lines == [(1234, "invoice-1-0"), (-34, "invoice-1-1")]
    for hours in (1, 24, 48):
        world.advance(hours=hours)
        assert world.push("invoice-1", 1234, -34)[0] == pushed
    assert len(world.fake.store.all("invoice")) == 1
    assert len(world.fake.store.all("invoiceitem")) == 2


def test_a_push_that_stopped_half_way_continues_after_days(world: World) -> None:
    draft = world.draft("invoice-1", 100, 200, 300)
    world.fake.faults.next(*[LOST_500] * TRIES, path="POST /v1/invoiceitems")
    with pytest.raises(OutcomeUnknown):
        world.gateway.push_invoice(draft, world.timing())
    world.advance(days=4)
    pushed = world.gateway.push_invoice(draft, world.timing())
    assert pushed.total == money("6")
    assert len(world.fake.store.all("invoiceitem")) == 3
    assert len(world.fake.store.all("invoice")) == 1


def test_an_invoice_whose_total_differs_stays_a_draft(world: World) -> None:
    draft = world.draft("invoice-1", 100)
    world.fake.faults.next(*[LOST_500] * TRIES, path="/finalize")
    with pytest.raises(OutcomeUnknown):
        world.gateway.push_invoice(draft, world.timing())
    (stored,) = world.fake.store.all("invoice")
    world.gateway._stripe.v1.invoice_items.create(
        {"customer": draft.customer, "invoice": stored["id"], "amount": 1, "currency": "eur"}
    )
    with pytest.raises(GatewayRefused) as refusal:
        world.gateway.push_invoice(draft, world.timing())
    assert (refusal.value.reason, stored["status"]) == ("total_differs", "draft")
    assert world.gateway.void(InvoiceRef("invoice-1", TENANT, stored["id"]), world.timing()) == "void"
    assert world.fake.store.all("invoice") == []


def test_the_same_invoice_with_other_content_is_refused(world: World) -> None:
    world.push("invoice-1", 100)
    with pytest.raises(GatewayRefused) as refusal:
        world.gateway.push_invoice(replace(world.draft("invoice-1", 100), number="EX-2"), world.timing())
    assert refusal.value.reason == "idempotency_error"


def test_an_invoice_of_zero_is_paid_at_once_and_one_below_is_refused(world: World) -> None:
    assert world.push("invoice-0", 100, -100)[0].state == "paid"
    with pytest.raises(GatewayRefused) as refusal:
        world.push("invoice-1", 100, -101)
    assert refusal.value.reason == "negative"


@pytest.mark.parametrize(
    ("currency", "minor", "stripe_units", "total"),
    [
        ("JPY", 500, 500, "500"),
        ("KWD", 1230, 1230, "1.230"),
        ("ISK", 7, 700, "7"),
        ("UGX", 9, 900, "9"),
        ("MGA", 300, 3, "3"),
    ],
)
def test_amounts_are_sent_as_stripe_counts_them(
    world: World, currency: str, minor: int, stripe_units: int, total: str
) -> None:
    pushed = world.gateway.push_invoice(world.draft("invoice-1", minor, currency=currency), world.timing())
    assert pushed.total == money(total, currency)
    assert world.fake.store.get("invoice", pushed.external_id)["total"] == stripe_units


@pytest.mark.parametrize(("amount", "currency"), [("0.001", "EUR"), ("1.001", "KWD"), ("0.5", "JPY"), ("1.50", "MGA")])
def test_an_amount_that_stripe_cannot_collect_is_refused(amount: str, currency: str) -> None:
    with pytest.raises(GatewayRefused) as refusal:
        to_stripe(money(amount, currency))
    assert refusal.value.reason == "amount_too_fine"


@pytest.mark.parametrize("currency", ["EUR", "JPY", "KWD", "ISK", "UGX", "MGA"])
def test_amounts_return_as_they_were_sent(currency: str) -> None:
    amount = money("1230", currency)
    assert from_stripe(to_stripe(amount), currency.lower()) == amount


def test_an_invoice_is_paid_by_card_after_another_was_declined(world: World) -> None:
    pushed, invoice = world.push("invoice-1", 5000)
    customer = world.customer()
    declining = world.card(customer, "pm_card_visa_chargeDeclinedInsufficientFunds")
    for _ in range(2):
        with pytest.raises(Declined) as refusal:
            world.gateway.pay(invoice, declining, 1, world.timing())
        assert refusal.value.decline_code == "insufficient_funds"
    assert len(world.fake.store.all("charge")) == 1, "a repeated attempt is not a second charge"
    card = world.card(customer)
    for _ in range(2):
        assert world.gateway.pay(invoice, card, 2, world.timing()) == "paid"
    (payment,) = world.gateway.payments(invoice)
    assert payment.amount == pushed.total


def test_a_card_that_needs_the_payer_says_so(world: World) -> None:
    _, invoice = world.push("invoice-1", 5000)
    card = world.card(world.customer(), "pm_card_authenticationRequired")
    with pytest.raises(Declined) as refusal:
        world.gateway.pay(invoice, card, 1, world.timing())
    assert refusal.value.decline_code == "authentication_required"


def test_payments_elsewhere_write_offs_and_voids_are_recorded(world: World) -> None:
    steps: dict[str, Callable[[InvoiceRef], str]] = {
        "paid": lambda one: world.gateway.mark_paid(one, world.timing()),
        "void": lambda one: world.gateway.void(one, world.timing()),
        "uncollectible": lambda one: world.gateway.write_off(one, world.timing()),
    }
    for state, step in steps.items():
        _, invoice = world.push(f"invoice-{state}", 100)
        world.gateway.send_invoice(invoice, world.timing())
        assert step(invoice) == step(invoice) == state
        assert world.gateway.payments(invoice) == ()
        found = world.gateway.read_back(Lookup(Kind.INVOICE, invoice.our_id))
        assert found is not None
        assert (found.state, found.amount) == (state, money("1"))


def test_a_paid_invoice_is_not_voided(world: World) -> None:
    _, invoice = world.push()
    world.gateway.mark_paid(invoice, world.timing())
    with pytest.raises(GatewayRefused):
        world.gateway.void(invoice, world.timing())


def note(invoice: InvoiceRef, our_id: str, amount: int, *, refund: bool = False) -> CreditNote:
    return CreditNote(our_id, invoice, "EUR", (Line(f"{our_id}-1", "Credit", amount),), refund)


def test_credit_notes_lower_what_is_due_and_then_return_what_was_paid(world: World) -> None:
    _, invoice = world.push("invoice-1", 1000)
    for _ in range(2):
        world.gateway.credit_note(note(invoice, "credit-1", 300), world.timing())
    stored = world.fake.store.get("invoice", invoice.external_id)
    assert stored["amount_due"] == 700
    world.gateway.pay(invoice, world.card(world.customer()), 1, world.timing())
    world.gateway.credit_note(note(invoice, "credit-2", 200, refund=True), world.timing())
    (refund,) = world.fake.store.all("refund")
    assert refund["amount"] == 200
    world.gateway.credit_note(note(invoice, "credit-3", 500), world.timing())
    with pytest.raises(GatewayRefused):
        world.gateway.credit_note(note(invoice, "credit-4", 1), world.timing())
    assert len(world.fake.store.all("credit_note")) == 3


def test_refunds_never_exceed_the_payment(world: World) -> None:
    customer = world.customer()
    paid = world.gateway.charge(Charge("top-1", TENANT, customer, world.card(customer), money("10")), world.timing())
    for at in range(3):
        for _ in range(2):
            world.gateway.refund(Refund(f"refund-{at}", TENANT, paid.external_id, money("3")), world.timing())
    with pytest.raises(GatewayRefused):
        world.gateway.refund(Refund("refund-3", TENANT, paid.external_id, money("3")), world.timing())
    assert sum(one["amount"] for one in world.fake.store.all("refund")) == 900


def test_an_automatic_top_up_charges_once_and_a_decline_is_remembered_for_days(world: World) -> None:
    customer = world.customer()
    declining = Charge("top-1", TENANT, customer, world.card(customer, "pm_card_chargeCustomerFail"), money("10"))
    for days in (0, 2):
        world.advance(days=days)
        with pytest.raises(Declined) as refusal:
            world.gateway.charge(declining, world.timing())
        assert refusal.value.decline_code == "generic_decline"
    charge = replace(declining, method=world.card(customer), attempt=2)
    paid = world.gateway.charge(charge, world.timing())
    world.advance(days=2)
    assert world.gateway.charge(charge, world.timing()) == paid
    assert [one["status"] for one in world.fake.store.all("charge")] == ["failed", "succeeded"]


def test_payment_methods_are_saved_chosen_and_removed(world: World) -> None:
    customer = world.customer()
    visa, mastercard = world.card(customer), world.card(customer, "pm_card_mastercard")
    world.gateway.set_default_method(customer, visa)
    saved = world.gateway.payment_methods(customer)
    assert [(one.external_id, one.last4, one.default) for one in saved] == [
        (mastercard, "4444", False), (visa, "4242", True),
    ]  # fmt: skip
    for _ in range(2):
        world.gateway.remove_method(visa)
    assert [one.external_id for one in world.gateway.payment_methods(customer)] == [mastercard]


def test_a_page_to_pay_at_is_one_page(world: World) -> None:
    customer = world.customer()
    page = world.gateway.checkout(top_up(customer), world.timing())
    assert world.gateway.checkout(top_up(customer), world.timing()) == page
    found = world.gateway.read_back(Lookup(Kind.CHECKOUT, "top-up-1", customer))
    assert found is not None
    assert (found.external_id, found.state, found.amount) == (page.external_id, "open", money("50"))
    for _ in range(2):
        world.gateway.expire_checkout(page.external_id)
    assert world.fake.store.get("checkout.session", page.external_id)["status"] == "expired"


def test_what_we_never_created_is_not_found(world: World) -> None:
    customer = world.customer()
    for kind in Kind:
        assert world.gateway.read_back(Lookup(kind, "nobody's", customer)) is None
    assert world.gateway.read_back(Lookup(Kind.CHARGE, "it's \\ ours")) is None


def test_search_lags_behind_and_lists_do_not(world: World) -> None:
    world.fake.store.search_delay_s = 60
    _, invoice = world.push()
    assert world.gateway.read_back(Lookup(Kind.INVOICE, "invoice-1")) is None
    assert world.gateway.read_back(Lookup(Kind.INVOICE, "invoice-1", world.customer())) is not None
    world.advance(seconds=60)
    assert world.gateway.read_back(Lookup(Kind.INVOICE, "invoice-1")) is not None
    assert invoice.our_id == "invoice-1"


def test_a_rate_limit_names_the_wait(world: World) -> None:
    world.fake.faults.retry_after_s = 17
    world.fake.faults.next(LIMITED)
    with pytest.raises(Later) as later:
        world.customer()
    assert later.value.after_s == 17


@pytest.mark.parametrize("fault", [DROP, LOCKED, LOST_500])
def test_an_unknown_outcome_is_concluded_at_once_where_possible(world: World, fault: str) -> None:
    draft = world.draft()
    world.fake.faults.next(fault, path="POST /v1/invoices")
    assert world.gateway.push_invoice(draft, world.timing()).state == "open"
    assert len(world.fake.store.all("invoice")) == 1


def test_a_wrong_key_is_refused_and_not_shown(world: World) -> None:
    gateway = StripeGateway(replace(world.gateway.account, api_key="sk_test_secret_of_another"))
    with pytest.raises(GatewayRefused) as refusal:
        gateway.payment_methods("cus_1")
    assert "sk_test_secret_of_another" not in f"{refusal.value} {gateway.account!r}"


def test_nobody_listening_is_an_unknown_outcome(world: World) -> None:
    gateway = StripeGateway(replace(world.gateway.account, api_base="http://127.0.0.1:9"))
    with pytest.raises(OutcomeUnknown):
        gateway.payment_methods("cus_1")


def test_many_invoices_of_a_customer_are_paged_through(world: World) -> None:
    customer = world.customer()
    drafts = [Draft(f"i{at}", TENANT, customer, "EUR", f"EX-{at}", 30, (Line(f"l{at}", "x", 100),)) for at in range(3)]
    for draft in drafts:
        world.gateway.push_invoice(draft, world.timing())
    for _ in range(110):
        world.gateway._stripe.v1.invoices.create({"customer": customer})
    found = world.gateway.read_back(Lookup(Kind.INVOICE, "i0", customer))
    assert found is not None
    assert found.amount == money("1")
