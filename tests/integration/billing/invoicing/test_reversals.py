"""A payment that a person recorded wrongly is reversed: the invoice is due again, and both entries stay."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from billing import queries
from billing.invoices.crediting import Part
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.models import Payment
from billing.queries.invoices import InvoiceView
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry, OutboxMessage, Tenant
from tests.integration.billing.invoicing.scene import issued
from tests.integration.billing.invoicing.test_console_pages import shown, words
from tests.integration.billing.invoicing.test_settling import accounts, credit, lines_of

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db


def recorded(tenant: Tenant, invoice: UUID, finance: Any) -> UUID:
    """Record by hand that all of an invoice of €3.00 was paid; return the payment's id."""
    page = f"/invoices/{invoice}/"
    body = {"amount": "3", "received_on": "2027-04-02", "reference": "wire 17", "shown": shown(finance, page)}
    assert finance.post(f"{page}payments/", body).status_code == 302
    with tenant_scope(tenant.id):
        return Payment.objects.filter(kind="payment").latest("recorded_at", "id").pk


def seen(tenant: Tenant, invoice: UUID) -> InvoiceView:
    with tenant_scope(tenant.id):
        assert list(reconcile_faults()) == []
        assert list(ledger_faults()) == []
        return queries.invoice(invoice)


def test_b80_a_payment_that_never_arrived_is_reversed_once(demo_clock: DemoClock, seller: Any) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    finance, support, page = seller("platform_finance"), seller("platform_support"), f"/invoices/{invoice}/"
    payment = recorded(tenant, invoice, finance)
    path = f"{page}payments/{payment}/reverse/"
    assert "Reverse the payment of €3.00" in words(finance.get(page))
    assert "Reverse" not in words(support.get(page))
    assert support.post(path, {"reason": "of another customer"}).status_code == 403
    for reason, message in (("x", "Say why"), ("x" * 201, "Give at most 200 characters.")):
        refused = finance.post(path, {"reason": reason})
        assert (refused.status_code, message in words(refused)) == (422, True)
    assert seen(tenant, invoice).state == "paid"
    assert finance.post(path, {"reason": "of another customer"}).status_code == 302
    view = seen(tenant, invoice)
    assert (view.state, view.due, view.returned) == ("finalised", view.total, view.total)
    assert accounts(tenant) == {"revenue": Decimal(-3), "receivable": Decimal(3)}
    text = words(finance.get(page))
    for part in (
        "Due €3.00",
        "Reversal of another customer",
        "Payment reversed wire 17",
        "−€3.00",
        "Record a payment",
        "Void INV-",
    ):
        assert part in text, part
    assert "Payment reversed platform_finance@" in text.partition("What happened")[2]
    again = finance.post(path, {"reason": "of another customer"})
    assert (again.status_code, "This payment is reversed already." in words(again)) == (422, True)
    assert "Reversal INV-000001" in words(finance.get(f"/invoices/statements/{tenant.id}/?start=2027-04-01"))
    with tenant_scope(tenant.id):
        assert AuditEntry.objects.filter(action="billing.payment.reversed").count() == 1
        (event,) = OutboxMessage.objects.filter(topic="billing.PaymentReversed")
        assert (event.payload["amount"], event.payload["due"]) == ("3.00", "3.00")


def test_b80_only_what_a_person_recorded_and_nobody_returned_is_reversed(demo_clock: DemoClock, seller: Any) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    finance = seller("platform_finance")
    payment = recorded(tenant, invoice, finance)

    def reverse(one: UUID) -> Any:
        url = f"/api/operator/v1/invoices/{invoice}/payments/{one}/reverse/"
        return finance.post(url, {"reason": "a wrong invoice"}, content_type="application/json")

    credit(tenant, invoice, Part(lines_of(tenant, invoice)[0], Decimal("0.50")))
    with tenant_scope(tenant.id):
        refund = Payment.objects.get(kind="refund").pk
    for one, code in ((payment, "payment_not_reversible"), (refund, "payment_not_reversible"), (invoice, "not_found")):
        assert reverse(one).json()["code"] == code
    assert "€2.50 of its payments are left" in reverse(payment).json()["title"]
    _, other = issued(demo_clock, 60_000)
    assert finance.get(f"/invoices/{other}/payments/{payment}/reverse/").status_code == 405
    assert finance.post(f"/invoices/{other}/payments/{payment}/reverse/", {"reason": "a wrong one"}).status_code == 404
    assert seen(tenant, invoice).state == "paid"
    assert "Reverse the payment of €3.00" in words(finance.get(f"/invoices/{invoice}/"))


def test_b80_the_api_reverses_a_payment(demo_clock: DemoClock, seller: Any) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    finance, api = seller("platform_finance"), f"/api/operator/v1/invoices/{invoice}/"
    payment = recorded(tenant, invoice, finance)
    url, body = f"{api}payments/{payment}/reverse/", {"reason": "a wrong invoice"}
    assert finance.post(url, {}, content_type="application/json").json()["fields"].keys() == {"reason"}
    done = finance.post(url, body, content_type="application/json")
    assert (done.status_code, done.json()["state"], done.json()["due"]["amount"]) == (200, "finalised", "3.000000")
    assert finance.post(url, body, content_type="application/json").json()["code"] == "payment_reversed"
    listed = finance.get(f"{api}mark-paid/").json()["results"]
    assert {(one["kind"], one["reversed"]) for one in listed} == {("payment", True), ("reversal", False)}


def test_b80_what_a_credit_note_put_into_the_wallet_is_not_reversed(demo_clock: DemoClock, seller: Any) -> None:
    tenant, invoice = issued(demo_clock, 60_000)
    finance, api = seller("platform_finance"), f"/api/operator/v1/invoices/{invoice}/"
    for amount in ("0.25", "2.75"):
        body = {"amount": amount, "received_on": "2027-04-02"}
        assert finance.post(f"{api}mark-paid/", body, content_type="application/json").status_code == 200
    credit(tenant, invoice, Part(lines_of(tenant, invoice)[0], Decimal("2.50")), paid_back="wallet")
    with tenant_scope(tenant.id):
        small, large = Payment.objects.filter(kind="payment").order_by("amount").values_list("pk", flat=True)
    answers = [
        finance.post(f"{api}payments/{one}/reverse/", {"reason": "a wrong invoice"}, content_type="application/json")
        for one in (large, small)
    ]
    assert (answers[0].status_code, answers[0].json()["code"]) == (409, "payment_not_reversible")
    assert "€0.50 of its payments are left" in answers[0].json()["title"]
    assert (answers[1].status_code, answers[1].json()["due"]["amount"]) == (200, "0.250000")
    assert seen(tenant, invoice).state == "finalised"
