"""The wallet by API and pages: credit from the operator, top-ups by invoice, and the rule that tops up by itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid4

import pytest
from django.test import Client

from billing import queries, tasks
from billing.invoices import paying
from billing.metering.metering import record_usage
from billing.models import Invoice, Payment
from tenants.events import outbox
from tenants.isolation.scoping import tenant_scope
from tenants.models import Notification, Tenant
from tests.api.test_matrix import client_for
from tests.integration.billing.invoicing.scene import IN_APRIL, draft_of, finalise, name_the_seller, used
from tests.integration.billing.invoicing.test_console_pages import words
from tests.integration.billing.wallets.scene import euro, left, seen
from tests.support import factories, selling
from tests.support.usage import interval

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]


class Api:
    """A tenant's key at the API."""

    def __init__(self, tenant: Tenant) -> None:
        self.key = factories.make_api_key(tenant)

    def __call__(self, method: str, path: str, body: Any = None) -> Any:
        return getattr(Client(), method)(
            f"/api/v1/wallet/{path}", body, content_type="application/json",
            headers={"Authorization": f"Bearer {self.key}"},
        )  # fmt: skip


def relay(as_control: Control) -> None:
    with as_control():
        outbox.relay(outbox.deliver)


def pay(tenant: Tenant, invoice: UUID | str, amount: str) -> None:
    received = paying.Received(amount=euro(amount).amount, received_on=IN_APRIL.date())
    with selling.role("exchequer_operator"):
        paying.mark_paid(operator=selling.SELLER, tenant_id=tenant.id, invoice_id=invoice, received=received)  # type: ignore[arg-type]


def test_a_top_up_is_invoiced_and_fills_the_wallet_as_it_is_paid(
    demo_clock: DemoClock, as_control: Control, seller: Any
) -> None:
    tenant = used(demo_clock, 6_000)
    api = Api(tenant)
    refused = api("post", "top-ups/", {"amount": "20.00"})
    assert (refused.status_code, refused.json()["code"]) == (409, "seller_unknown")
    name_the_seller()
    for wrong in ("0", "-1", "0.001", "1e12"):
        assert api("post", "top-ups/", {"amount": wrong}).status_code == 400
    made = api("post", "top-ups/", {"amount": "20.00"})
    assert (made.status_code, made.json()["state"], made.json()["invoice"]) == (201, "asked", None)
    relay(as_control)
    relay(as_control)
    (top_up,) = api("get", "top-ups/").json()["results"]
    assert (top_up["state"], top_up["number"], top_up["amount"]["amount"]) == ("open", "INV-000001", "20.000000")
    invoice = UUID(top_up["invoice"])
    view = seen(tenant, invoice)
    assert (view.kind, view.total, view.tax, view.due) == ("top_up", euro("20.00"), euro("0.00"), euro("20.00"))
    with tenant_scope(tenant.id):
        (line,) = queries.invoice_lines(invoice)
        assert (line.kind, line.amount) == ("top_up", euro("20.00"))
    pdf = Client().get(f"/api/v1/invoices/{invoice}/pdf/", headers={"Authorization": f"Bearer {api.key}"})
    assert (pdf.status_code, pdf.headers["Content-Type"]) == (200, "application/pdf")
    assert api("get", "").json()["balance"]["amount"] == "0.000000"
    pay(tenant, invoice, "15.00")
    assert api("get", "").json()["balance"]["amount"] == "15.000000"
    pay(tenant, invoice, "5.00")
    wallet = api("get", "").json()
    assert (wallet["balance"]["amount"], wallet["unbilled"]["amount"], wallet["available"]["amount"]) == (
        "20.000000", "3.000000", "17.000000",
    )  # fmt: skip
    assert wallet["top_ups"][0]["state"] == "paid"
    with tenant_scope(tenant.id):
        payment = Payment.objects.filter(invoice=invoice).latest("recorded_at").pk
    url = f"/api/operator/v1/invoices/{invoice}/payments/{payment}/reverse/"
    refused = seller("platform_finance").post(url, {"reason": "a wrong one"}, content_type="application/json")
    assert (refused.status_code, refused.json()["code"]) == (409, "payment_not_reversible")
    finalise(tenant, draft_of(tenant))
    assert seen(tenant, draft_of(tenant)).state == "paid"
    first = api("get", "movements/?limit=1").json()
    assert (first["results"][0]["kind"], first["results"][0]["amount"]["amount"]) == ("used", "-3.000000")
    rest = Client().get(first["next"], headers={"Authorization": f"Bearer {api.key}"}).json()["results"]
    assert [(one["kind"], one["number"]) for one in rest] == [("top_up", "INV-000001")]
    text = words(client_for(tenant, "finance").get(f"/t/{tenant.slug}/wallet/"))
    for part in ("Paid credit €17.00", "Used by an invoice INV-000002", "Top-up INV-000001", "Ask for the invoice"):
        assert part in text, part
    page = words(client_for(tenant, "finance").get(f"/t/{tenant.slug}/invoices/{draft_of(tenant)}/"))
    assert "Top-ups April 2027 INV-000001" in page and "Other months" not in page
    assert left(tenant) == [euro("12.00"), euro("5.00")]


def test_a_low_wallet_is_topped_up_by_itself_one_at_a_time_within_the_months_maximum(
    demo_clock: DemoClock, as_control: Control
) -> None:
    name_the_seller()
    tenant = used(demo_clock, 60)
    finance = factories.make_member(tenant, "finance")
    api = Api(tenant)
    assert api("put", "automatic-top-up/", {"below": "5", "amount": "10", "most": "9"}).status_code == 400
    rule = {"below": "5.00", "amount": "10.00", "most": "25.00"}
    assert api("put", "automatic-top-up/", rule).json()["automatic_top_up"]["most"]["amount"] == "25.000000"

    def tend() -> list[dict[str, Any]]:
        for _ in range(2):
            with as_control():
                tasks.tend_wallets()
            relay(as_control)
        found: list[dict[str, Any]] = api("get", "top-ups/").json()["results"]
        return found

    (first,) = tend()
    assert (first["automatic"], first["state"]) == (True, "open")
    with tenant_scope(tenant.id):
        assert Notification.objects.filter(user=finance, kind="wallet").count() == 1
    pay(tenant, first["invoice"], "10.00")
    assert len(tend()) == 1, "10.00 is available"
    with tenant_scope(tenant.id):
        project = factories.default_project_id(tenant)
        record_usage(
            [interval(project, IN_APRIL - timedelta(hours=23), 80_000, resource=f"device:{n}") for n in range(2)]
        )
    second, _ = tend()
    pay(tenant, second["invoice"], "10.00")
    with tenant_scope(tenant.id):
        record_usage(
            [interval(project, IN_APRIL - timedelta(hours=23), 80_000, resource=f"device:{n}") for n in (3, 4)]
        )
    assert len(tend()) == 2, "a third would pass 25.00 in this month"
    assert api("delete", "automatic-top-up/").status_code == 204
    assert api("get", "").json()["automatic_top_up"] is None


def test_an_unpaid_top_up_is_voided_and_credited_by_nobody(
    demo_clock: DemoClock, as_control: Control, seller: Any
) -> None:
    name_the_seller()
    tenant = used(demo_clock, 60)
    api = Api(tenant)
    api("post", "top-ups/", {"amount": "20.00"})
    relay(as_control)
    (top_up,) = api("get", "top-ups/").json()["results"]
    finance, path = seller("platform_finance"), f"/api/operator/v1/invoices/{top_up['invoice']}/"
    json = {"content_type": "application/json"}
    refused = finance.post(f"{path}credit-notes/", {"reason": "a wrong amount", "lines": []}, **json)
    assert refused.json()["code"] == "invoice_not_creditable"
    assert finance.post(f"{path}void/", {"reason": "a wrong amount", "reissue": True}, **json).json() == {"draft": None}
    assert api("get", "top-ups/").json()["results"][0]["state"] == "void"
    with tenant_scope(tenant.id):
        assert Invoice.objects.exclude(state="void").count() == 1
    seen(tenant, UUID(top_up["invoice"]))


def test_an_operator_grants_credit_that_the_organisation_sees_and_takes_back_the_rest(
    demo_clock: DemoClock, seller: Any
) -> None:
    tenant = used(demo_clock, 60)
    finance, api = seller("platform_finance"), Api(tenant)
    page = f"/wallets/{tenant.id}/"
    wrong = finance.post(page, {"amount": "0", "priority": "50", "expires_on": "2027-04-01", "reason": "a pilot"})
    assert wrong.status_code == 422
    granted = finance.post(page, {"amount": "25", "priority": "10", "expires_on": "2027-04-20", "reason": "a pilot"})
    assert granted.status_code == 302
    (block,) = api("get", "").json()["blocks"]
    assert (block["kind"], block["left"]["amount"], block["priority"], block["expires_on"]) == (
        "promotional", "25.000000", 10, "2027-04-20",
    )  # fmt: skip
    for text in (words(finance.get(page)), words(client_for(tenant, "finance").get(f"/t/{tenant.slug}/wallet/"))):
        assert "Promotional" in text and "a pilot" in text and "20 April 2027" in text
    support = seller("platform_support")
    assert "Grant credit" not in words(support.get(page))
    assert support.post(page, {"amount": "25", "priority": "10", "reason": "a pilot"}).status_code == 403
    assert finance.post(f"{page}{uuid4()}/withdraw/", {"reason": "the pilot ended"}).status_code == 404
    assert finance.post(f"{page}{block['id']}/withdraw/", {"reason": "the pilot ended"}).status_code == 302
    again = finance.post(f"{page}{block['id']}/withdraw/", {"reason": "the pilot ended"})
    assert (again.status_code, "Nothing is left" in words(again)) == (409, True)
    credits, json = f"/api/operator/v1/tenants/{tenant.id}/credits/", {"content_type": "application/json"}
    made = finance.post(credits, {"amount": "5.00", "meters": ["device_seconds"], "reason": "a pilot"}, **json)
    assert (made.status_code, made.json()["meters"]) == (201, ["device_seconds"])
    assert finance.get(credits).json()["promotional"]["amount"] == "5.000000"
    assert left(tenant) == [euro("0.00"), euro("5.00")]


def test_the_page_tops_up_and_sets_the_rule(demo_clock: DemoClock) -> None:
    name_the_seller()
    tenant = used(demo_clock, 60)
    finance = client_for(tenant, "finance")
    page = f"/t/{tenant.slug}/wallet/"
    assert finance.post(f"{page}top-up/", {"amount": "x"}).status_code == 422
    assert finance.post(f"{page}top-up/", {"amount": "20"}).status_code == 302
    assert finance.post(f"{page}automatic/", {"below": "5", "amount": "10", "most": "9"}).status_code == 422
    assert finance.post(f"{page}automatic/", {"below": "5", "amount": "10", "most": "50"}).status_code == 302
    assert "€50.00 a month at most" in words(finance.get(page))
    assert finance.post(f"{page}automatic/", {"off": "1"}).status_code == 302
    assert "Off. With it" in words(finance.get(page))
    assert "Top up" not in words(client_for(tenant, "auditor").get(page)).replace("Top-ups", "")
