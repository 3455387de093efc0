"""Payment methods of a tenant: saved at the provider's page, chosen, removed, and charged when an invoice is finalised."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from billing.mailing.reminding import remind_all
from billing.models import PaymentAccount, Seller
from tenants.isolation.scoping import tenant_scope
from tenants.models import Notification, Tenant
from tests.api.test_matrix import client_for
from tests.integration.billing.collecting.till import Till
from tests.integration.billing.invoicing.scene import draft_of, finalise, name_the_seller, used
from tests.support import selling

pytestmark = pytest.mark.django_db


def account(tenant: Tenant) -> PaymentAccount:
    with tenant_scope(tenant.id):
        return PaymentAccount.objects.get()


def change(member: Any, tenant: Tenant, act: str, method: str = "", **more: Any) -> Any:
    return member.post(f"/t/{tenant.slug}/payment-methods/change/", {"act": act, "method": method}, **more)


def save(till: Till, member: Any, tenant: Tenant, card: str = "pm_card_visa") -> str:
    """Save a card at the provider's page; return its id, as the page lists it afterwards."""
    with tenant_scope(tenant.id):
        known = PaymentAccount.objects.first()
        before = {one["external_id"] for one in known.methods} if known else set()
    sent = change(member, tenant, "add")
    assert sent.status_code == 302, sent.content
    assert sent["Location"].startswith(till.fake.url)
    assert till.pay_at(sent["Location"], card) == 303
    assert "is being saved" in member.get(f"/t/{tenant.slug}/payment-methods/?saved=1").content.decode()
    till.deliver()
    till.sweep(tenant)
    (new,) = {one["external_id"] for one in account(tenant).methods} - before
    return str(new)


def with_usage(till: Till) -> tuple[Tenant, Any]:
    name_the_seller()
    tenant = used(till.demo_clock, 60_000)
    return tenant, client_for(tenant, "finance")


def finalised(till: Till, tenant: Tenant) -> UUID:
    finalise(tenant)
    till.settle(tenant, sweeps=3)
    return draft_of(tenant)


def test_methods_are_saved_chosen_and_removed(till: Till) -> None:
    tenant, member = with_usage(till)
    page = f"/t/{tenant.slug}/payment-methods/"
    assert "No payment method yet" in member.get(page).content.decode()
    first = save(till, member, tenant)
    second = save(till, member, tenant)
    assert [(one["external_id"], one["default"]) for one in account(tenant).methods if one["default"]] == [
        (first, True)
    ]
    assert change(member, tenant, "default", second).status_code == 302
    assert [one["external_id"] for one in account(tenant).methods if one["default"]] == [second]
    assert change(member, tenant, "remove", first).status_code == 302
    assert [one["external_id"] for one in account(tenant).methods] == [second]
    assert "ending in 4242" in member.get(page).content.decode()
    assert change(member, tenant, "remove", "pm_of_somebody").status_code == 404


def test_a_program_manages_payment_methods_as_the_page_does(till: Till) -> None:
    tenant, member = with_usage(till)
    api = "/api/v1/payment-methods/"

    def put(path: str, body: Any = None) -> Any:
        return member.put(f"{api}{path}", body or {}, content_type="application/json")

    assert member.get(api).json() == {"provider": True, "automatic_charges": False, "payment_methods": []}
    assert put("automatic-charges/").json()["title"] == "Add a payment method first."
    for _ in range(2):
        assert till.pay_at(member.post(api).json()["url"]) == 303
        till.deliver()
        till.sweep(tenant)
    first, second = (one["id"] for one in member.get(api).json()["payment_methods"])
    chosen = put("default/", {"id": second}).json()["payment_methods"]
    assert [(one["id"], one["last4"]) for one in chosen if one["default"]] == [(second, "4242")]
    assert put("automatic-charges/").json()["automatic_charges"] is True
    assert member.delete(f"{api}automatic-charges/").status_code == 204
    assert member.get(api).json()["automatic_charges"] is False
    removed = member.post(f"{api}remove/", {"id": first}, content_type="application/json")
    assert [one["id"] for one in removed.json()["payment_methods"]] == [second]
    assert put("default/", {"id": "pm_of_somebody"}).status_code == 404


def test_an_invoice_is_charged_to_the_default_method_once(till: Till) -> None:
    tenant, member = with_usage(till)
    assert "Add a payment method first." in change(member, tenant, "on", follow=True).content.decode()
    save(till, member, tenant)
    change(member, tenant, "on")
    assert account(tenant).autopay
    invoice = finalised(till, tenant)
    assert till.seen(tenant, invoice).state == "paid"
    assert till.steps(tenant) == [("push", "done"), ("charge", "done")]
    assert len(till.payments(tenant)) == 1
    assert len([one for one in till.fake.store.all("charge") if one["paid"]]) == 1


def test_b45_a_declined_charge_is_repeated_with_the_next_reminder(till: Till) -> None:
    tenant, member = with_usage(till)
    save(till, member, tenant, "pm_card_chargeCustomerFail")
    change(member, tenant, "on")
    invoice = finalised(till, tenant)
    assert till.steps(tenant) == [("push", "done"), ("charge", "declined")]
    assert "The last charge was declined" in member.get(f"/t/{tenant.slug}/invoices/{invoice}/").content.decode()
    with tenant_scope(tenant.id):
        assert Notification.objects.filter(kind="payment", title__contains="declined").exists()
    change(member, tenant, "default", save(till, member, tenant))
    with selling.role("exchequer_operator"):
        Seller.objects.update(dunning=[{"days": 3, "step": "remind"}])
    till.advance(days=34)
    for _ in range(2):
        with selling.role("exchequer_control"):
            remind_all()
        till.settle(tenant, sweeps=2)
    assert till.steps(tenant) == [("push", "done"), ("charge", "declined"), ("charge", "done")]
    assert till.seen(tenant, invoice).state == "paid"
    assert len(till.payments(tenant)) == 1


def test_the_page_asks_the_provider_nothing(till: Till) -> None:
    tenant, member = with_usage(till)
    save(till, member, tenant)
    asked = len(till.fake.requests)
    assert member.get(f"/t/{tenant.slug}/payment-methods/").status_code == 200
    assert len(till.fake.requests) == asked


def test_without_a_provider_the_page_says_how_to_pay(till: Till, settings: Any) -> None:
    settings.EXCHEQUER = settings.EXCHEQUER.model_copy(update={"stripe_api_key": ""})
    tenant, member = with_usage(till)
    page = member.get(f"/t/{tenant.slug}/payment-methods/").content.decode()
    assert "No payment provider" in page
    assert "IBAN DE00" in page
    assert change(member, tenant, "add").status_code == 302
