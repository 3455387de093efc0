"""The gateway without a provider, and which gateway an installation uses."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

from billing.money import Money
from billing.payments.chosen import payment_gateway
from billing.payments.errors import GatewayRefused, WebhookRefused
from billing.payments.gateway import PaymentGateway
from billing.payments.in_process import InProcessGateway
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
from tests.unit.billing.payments.conftest import START, TENANT

TIMING = Timing(START, START)
DRAFT = Draft("invoice-1", TENANT, "manual:x", "EUR", "EX-1", 30, (Line("l1", "x", 100), Line("l2", "y", 20)))
INVOICE = InvoiceRef("invoice-1", TENANT, "manual:invoice-1")


def test_without_a_provider_people_enter_what_happened() -> None:
    gateway: PaymentGateway = InProcessGateway()
    assert (gateway.name, gateway.collects) == ("manual", False)
    customer = gateway.ensure_customer(Payer(TENANT, "Acme", "a@acme.example"), TIMING)
    assert customer == f"manual:{TENANT}"
    pushed = gateway.push_invoice(DRAFT, TIMING)
    assert (pushed.external_id, pushed.payment_url, pushed.state) == ("manual:invoice-1", "", "open")
    assert str(pushed.total) == "1.200000 EUR"
    assert gateway.mark_paid(INVOICE, TIMING) == "paid"
    assert gateway.void(INVOICE, TIMING) == "void"
    assert gateway.write_off(INVOICE, TIMING) == "uncollectible"
    assert gateway.credit_note(CreditNote("c1", INVOICE, "EUR", DRAFT.lines), TIMING) == "manual:c1"
    assert gateway.refund(Refund("r1", TENANT, "manual:p", Money.zero("EUR")), TIMING) == "manual:r1"
    assert gateway.payments(INVOICE) == gateway.payment_methods(customer) == ()
    assert gateway.read_back(Lookup(Kind.INVOICE, "invoice-1")) is None


def test_without_a_provider_nothing_is_charged_and_no_event_is_accepted() -> None:
    gateway, zero = InProcessGateway(), Money.zero("EUR")
    request = CheckoutRequest("t1", TENANT, "manual:x", "top_up", zero, "x", "u", "v")
    refused = [
        lambda: gateway.pay(INVOICE, "pm", 1, TIMING),
        lambda: gateway.charge(Charge("t1", TENANT, "manual:x", "pm", zero), TIMING),
        lambda: gateway.checkout(request, TIMING),
        lambda: gateway.set_default_method("manual:x", "pm"),
        lambda: gateway.remove_method("pm"),
    ]
    for call in refused:
        with pytest.raises(GatewayRefused) as refusal:
            call()  # type: ignore[no-untyped-call]
        assert refusal.value.reason == "no_provider"
    with pytest.raises(WebhookRefused):
        gateway.event(b"{}", "t=1,v1=00", START)
    with pytest.raises(GatewayRefused):
        gateway.push_invoice(replace(DRAFT, lines=(Line("l1", "x", -1),)), TIMING)


def test_the_key_decides_which_gateway_is_used(settings: Settings) -> None:
    assert payment_gateway().name == "manual"
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(
        update={
            "stripe_api_key": "sk_test_1",
            "stripe_api_base": "http://127.0.0.1:9/",
            "stripe_webhook_secret": "whsec_new, whsec_old",
        }
    )
    gateway = payment_gateway()
    assert gateway.name == "stripe"
    assert payment_gateway() is gateway
    account = gateway.account  # type: ignore[attr-defined]
    assert (account.webhook_secrets, account.livemode) == (("whsec_new", "whsec_old"), False)


@pytest.mark.parametrize(
    ("key", "base", "named"),
    [
        ("pk_test_1", "", "STRIPE_API_KEY"),
        ("whsec_1", "", "STRIPE_API_KEY"),
        ("sk_test_1", "http://stripe.example", "STRIPE_API_BASE"),
        ("sk_test_1", "stripe.example", "STRIPE_API_BASE"),
        ("sk_test_1", "http://127.0.0.1.example:80", "STRIPE_API_BASE"),
    ],
)
def test_a_wrong_setting_is_named_and_the_key_is_not_shown(settings: Settings, key: str, base: str, named: str) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"stripe_api_key": key, "stripe_api_base": base})
    with pytest.raises(ImproperlyConfigured, match=named) as refusal:
        payment_gateway()
    assert key not in str(refusal.value)


def test_the_library_is_not_loaded_without_a_key() -> None:
    code = (
        "import sys, django; django.setup(); import billing.payments.chosen as chosen; "
        "assert chosen.payment_gateway().name == 'manual'; print('stripe' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_ids_are_those_of_ours() -> None:
    other = UUID(int=5)
    assert InProcessGateway().ensure_customer(Payer(other, "x", "y@z.example"), TIMING) == f"manual:{other}"
