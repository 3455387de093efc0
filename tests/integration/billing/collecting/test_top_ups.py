"""Money of a top-up that goes back: what is left of it to the payer, or all that is left to the payer's bank."""

from __future__ import annotations

from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from billing.models import TopUp
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.api.test_matrix import client_for
from tests.integration.billing.collecting.till import Till, pay_by_hand
from tests.integration.billing.exports.scene import rows_of, take, total
from tests.integration.billing.invoicing.scene import draft_of, finalise, name_the_seller, used
from tests.integration.billing.invoicing.test_console_pages import words
from tests.integration.billing.wallets.scene import accounts, euro, left, seen
from tests.support.pages import text_of

pytestmark = pytest.mark.django_db
API = "/api/operator/v1/invoices/"


def topped_up(till: Till, amount: str = "20.00", *, later: int = 0, **terms: Any) -> tuple[Tenant, UUID, Any]:
    """Return a tenant with 3.00 of usage in March, the invoice of its paid top-up, and who manages its invoices.

    `later`: how many units of it came by a second payment.
    """
    name_the_seller()
    tenant = used(till.demo_clock, 60_000, **terms)
    member = client_for(tenant, "finance")
    asked = member.post("/api/v1/wallet/top-ups/", {"amount": amount}, content_type="application/json")
    assert asked.status_code == 201, asked.content
    till.settle(tenant, sweeps=2)
    with tenant_scope(tenant.id):
        invoice = TopUp.objects.get().invoice_id
    assert invoice is not None
    assert till.pay_at(till.url(tenant, invoice)) == 303
    if later:
        till.split(invoice, later)
    till.settle(tenant, sweeps=2)
    assert sum(one.amount for one in left(tenant)) == Decimal(amount)
    return tenant, invoice, member


def give_back(seller: Any, invoice: UUID, amount: str = "") -> Any:
    line = seller.get(f"{API}{invoice}/lines/").json()["results"][0]["id"]
    lines = [{"line": line, "amount": amount}] if amount else []
    body = {"lines": lines, "reason": "not needed any more"}
    return seller.post(f"{API}{invoice}/credit-notes/", body, content_type="application/json")


def test_what_is_left_of_a_top_up_goes_back_to_the_payer_and_no_more(till: Till, seller: Any) -> None:
    tenant, invoice, member = topped_up(till)
    badge = text_of(member.get(f"/t/{tenant.slug}/invoices/reconciled/?invoice={invoice}"))
    assert "2027. Every interval" in " ".join(badge.split()), "it has no usage to state"
    console = seller("platform_finance")
    assert "Top up All projects" in words(console.get(f"/invoices/{invoice}/credit-notes/new/"))
    assert give_back(console, invoice, "5.00").status_code == 201
    finalise(tenant, draft_of(tenant))  # it uses 3.00 of the wallet
    assert left(tenant) == [euro("12.00")]
    refused = give_back(console, invoice, "12.01")
    assert (refused.status_code, refused.json()["code"]) == (409, "top_up_used")
    assert "€12.00 is left of this top-up" in refused.json()["title"]
    assert give_back(console, invoice).status_code == 201, "without lines all that is left"
    assert (give_back(console, invoice).status_code, left(tenant)) == (409, [euro("0.00")])
    till.settle(tenant, sweeps=3)
    assert sorted(one["amount"] for one in till.fake.store.all("refund")) == [500, 1200]
    view = seen(tenant, invoice)
    assert (view.state, view.due, view.credited, view.returned) == ("paid", euro("0.00"), euro("17.00"), euro("17.00"))
    assert {state for _, state in till.steps(tenant)} == {"done"}
    assert accounts(tenant).get("wallet", Decimal(0)) == 0
    text = words(member.get(f"/t/{tenant.slug}/wallet/"))
    assert "Returned to the payer" in text
    # The export of the month has the top-up, and what went back of it.
    rows = rows_of(take(tenant, "period=2027-04&version=1.2"))
    bought = [row for row in rows if row["InvoiceId"] == view.number]
    assert (total(bought), {row["ChargeCategory"] for row in bought}) == (euro("20.00"), {"Purchase"})
    assert total(rows) == euro("3.00")


def test_of_a_prepaid_wallet_nothing_goes_back_that_usage_needs(till: Till, seller: Any) -> None:
    tenant, invoice, _ = topped_up(till, terms={"prepaid": True})
    console = seller("platform_finance")
    assert give_back(console, invoice, "17.01").status_code == 409
    assert give_back(console, invoice, "17.00").status_code == 201
    assert left(tenant) == [euro("3.00")]
    finalise(tenant, draft_of(tenant))
    assert (seen(tenant, draft_of(tenant)).state, left(tenant)) == ("paid", [euro("0.00")])


def test_a_dispute_takes_what_is_left_of_the_top_up_out_of_the_wallet_until_it_is_won(till: Till) -> None:
    tenant, invoice, member = topped_up(till)
    finalise(tenant, draft_of(tenant))
    payment = next(one for one in till.fake.store.all("payment_intent") if one["amount"] == 2000)
    dispute = {"id": "dp_1", "object": "dispute", "amount": 2000, "currency": "eur", "metadata": {}}
    for _ in range(2):
        till.fake.events.add("charge.dispute.created", dispute | {"payment_intent": payment["id"]})
        till.settle(tenant, sweeps=2)
    assert left(tenant) == [euro("0.00")]
    assert accounts(tenant).get("wallet", Decimal(0)) == 0
    assert seen(tenant, invoice).state == "paid"
    moves = member.get("/api/v1/wallet/movements/").json()["results"]
    assert [(one["kind"], one["amount"]["amount"]) for one in moves][:2] == [
        ("disputed", "-17.000000"), ("used", "-3.000000"),
    ]  # fmt: skip
    # Lost, what was used is due again, and paid once more it fills nothing. Won after all, what was taken comes back, once,
    # and what was paid twice returns to the payer.
    for status, state, due, refunds in (
        ("lost", "finalised", "3.00", 0),
        ("won", "paid", "0.00", 1),
        ("won", "paid", "0.00", 1),
    ):
        ended = dispute | {"payment_intent": payment["id"], "status": status}
        till.fake.events.add("charge.dispute.closed", ended)
        till.settle(tenant, sweeps=2)
        view = seen(tenant, invoice)
        assert (view.state, view.due, len(till.fake.store.all("refund"))) == (state, euro(due), refunds)
        if status == "lost":
            pay_by_hand(tenant, invoice, "3.00")
            assert (seen(tenant, invoice).state, left(tenant)) == ("paid", [euro("0.00")])
    assert left(tenant) == [euro("17.00")]
    assert accounts(tenant)["wallet"] == Decimal(-17)
    moves = member.get("/api/v1/wallet/movements/").json()["results"]
    assert (moves[0]["kind"], moves[0]["amount"]["amount"]) == ("won_back", "17.000000")
    assert "is disputed" not in words(member.get(f"/t/{tenant.slug}/invoices/{invoice}/"))
    assert "17.00 of credit is in the wallet again" in words(member.get(f"/t/{tenant.slug}/notifications/"))
    # It began before it ended, whatever arrives last.
    till.fake.events.add("charge.dispute.created", dispute | {"payment_intent": payment["id"]})
    till.settle(tenant, sweeps=2)
    assert (left(tenant), seen(tenant, invoice).state) == ([euro("17.00")], "paid")
