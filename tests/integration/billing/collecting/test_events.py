"""Events of the payment provider through the web process: verified, stored once, in any order to the same end."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection

from billing.models import Collection, GatewayEvent, Reconciliation
from billing.reconciling.checking import reconcile
from tenants.isolation.scoping import tenant_scope
from tenants.models import Notification, PlatformEvent, Tenant
from tests.fakes.stripe.events import signature
from tests.fakes.stripe.server import WEBHOOK_SECRET
from tests.integration.billing.collecting.till import Till, credit
from tests.support import factories, selling
from tests.support.examples import NIGHT

pytestmark = pytest.mark.django_db


def signed(till: Till, event: dict[str, Any], secret: str = WEBHOOK_SECRET, age_s: int = 0) -> tuple[bytes, str]:
    body = json.dumps(event).encode()
    return body, signature(body, secret, till.fake.clock.now() - age_s)


def stored() -> list[str]:
    with selling.role("exchequer_control"):
        return list(GatewayEvent.objects.order_by("id").values_list("id", flat=True))


def event_of(till: Till, **changes: Any) -> dict[str, Any]:
    one = {"id": "in_1", "object": "invoice", "currency": "eur", "total": 300, "metadata": {}}
    return {**till.fake.events.add("invoice.paid", one), **changes}


def lived(till: Till) -> tuple[Tenant, UUID, list[dict[str, Any]]]:
    """Return an invoice whose payment failed, was made, and went back in part; with five of its events, undelivered."""
    tenant, invoice = till.finalised()
    till.sweep(tenant)
    url = till.url(tenant, invoice)
    assert till.pay_at(url, "pm_card_chargeCustomerFail") == 402
    assert till.pay_at(url) == 303
    kinds = (
        "invoice.created",
        "invoice.finalized",
        "invoice.payment_failed",
        "invoice.paid",
        "payment_intent.succeeded",
    )
    events = {one["type"]: one for one in till.fake.store.all("event") if one["type"] in kinds}
    assert len(events) == 5
    return tenant, invoice, list(events.values())


def test_b15_every_order_of_the_events_each_twice_comes_to_one_state(till: Till) -> None:
    tenant, invoice, events = lived(till)
    orders = list(permutations(events))[:: 1 if NIGHT else 10]
    found = set()
    with connection.cursor() as cursor:
        for order in orders:
            cursor.execute("SAVEPOINT before")
            for one in [*order, *order]:
                assert till.post(*signed(till, one)).status_code == 200
            till.sweep(tenant)
            assert till.sweep(tenant) == 0
            view = till.seen(tenant, invoice)
            found.add((view.state, view.due.minor, tuple(till.payments(tenant)), tuple(stored())))
            cursor.execute("ROLLBACK TO SAVEPOINT before")
    assert len(orders) == (120 if NIGHT else 12)
    ((state, due, payments, ids),) = found
    assert (state, due, len(payments), len(ids)) == ("paid", 0, 1, 5)


@pytest.mark.parametrize("fault", ["flipped", "secret", "old", "livemode", "account", "version", "unsigned", "empty"])
def test_p17_a_forged_or_foreign_event_is_refused_and_leaves_nothing(till: Till, fault: str) -> None:
    changes: dict[str, dict[str, Any]] = {
        "livemode": {"livemode": True},
        "account": {"account": "acct_of_somebody"},
        "version": {"api_version": "2019-01-01"},
    }
    event = event_of(till, **changes.get(fault, {}))
    body, header = signed(
        till, event, "whsec_of_somebody" if fault == "secret" else WEBHOOK_SECRET, 301 if fault == "old" else 0
    )
    if fault == "flipped":
        body = body.replace(b"300", b"301")
    header = "" if fault == "unsigned" else header
    answer = till.post(b"" if fault == "empty" else body, header)
    assert (answer.status_code, answer.json()["code"]) == (400, "webhook_refused")
    assert stored() == []
    assert till.browser.get("/webhooks/stripe").status_code == 405


def test_an_event_about_nothing_of_ours_is_accepted_and_recorded(till: Till) -> None:
    event = event_of(till)
    event["data"]["object"]["metadata"] = {"our_id": str(uuid4()), "tenant_id": str(uuid4())}
    assert till.post(*signed(till, event)).status_code == 200
    till.sweep()
    with selling.role("exchequer_control"):
        row = GatewayEvent.objects.get()
    assert row.handled_at is not None
    assert row.about is None


def test_an_event_with_another_tenants_name_on_it_moves_nothing_of_that_tenant(till: Till) -> None:
    tenant, invoice, _ = lived(till)
    other = factories.make_tenant()
    event = event_of(till)
    event["data"]["object"] |= {"metadata": {"our_id": str(invoice), "tenant_id": str(other.id)}}
    assert till.post(*signed(till, event)).status_code == 200
    till.sweep(tenant)
    with tenant_scope(other.id):
        assert not Collection.objects.exists()
    with selling.role("exchequer_control"):
        assert GatewayEvent.objects.get().about is None


def test_a_disputed_payment_is_shown_and_notified_although_its_event_came_first(till: Till, seller: Any) -> None:
    tenant, invoice, events = lived(till)
    member = factories.make_member(tenant, "finance")
    paid = next(one for one in events if one["type"] == "payment_intent.succeeded")["data"]["object"]
    dispute = {
        "id": "dp_1",
        "object": "dispute",
        "amount": 300,
        "currency": "eur",
        "metadata": {},
        "payment_intent": paid["id"],
    }
    till.fake.events.endpoints.clear()
    event = till.fake.events.add("charge.dispute.created", dispute)
    for _ in range(2):
        assert till.post(*signed(till, event)).status_code == 200
    till.sweep(tenant)
    till.advance(minutes=1)
    for one in events:
        till.post(*signed(till, one))
    till.sweep(tenant)
    till.sweep(tenant)
    with tenant_scope(tenant.id):
        assert Collection.objects.get(step="push").disputed_at is not None
        assert Notification.objects.filter(user=member, kind="payment").count() == 1
    with selling.role("exchequer_operator"):
        assert PlatformEvent.objects.filter(type="payment.disputed").count() == 1
    assert "A payment is disputed" in seller("platform_finance").get(f"/invoices/{invoice}/").content.decode()


def test_a_refund_made_at_the_provider_does_not_confuse_the_reading(till: Till) -> None:
    tenant, invoice, events = lived(till)
    for one in events:
        till.post(*signed(till, one))
    till.sweep(tenant)
    credit(tenant, invoice)
    till.settle(tenant, sweeps=2)
    assert till.seen(tenant, invoice).due.minor == 0
    with tenant_scope(tenant.id):
        assert Collection.objects.get(step="push").received == 3


@pytest.mark.parametrize("difference", ["more", "less"])
def test_b16_a_payment_that_the_provider_does_not_have_parks_the_tenant(till: Till, difference: str) -> None:
    tenant, invoice, events = lived(till)
    for one in events:
        till.post(*signed(till, one))
    till.sweep(tenant)
    till.sweep(tenant)
    till.seen(tenant, invoice)
    payment = till.fake.store.all("invoice_payment", status="paid")[0]
    if difference == "more":
        payment["amount_paid"] += 100
    else:
        till.fake.store.remove("invoice_payment", payment["id"])
    till.advance(days=1)
    till.sweep(tenant)
    with selling.role("exchequer_control"):
        faults = reconcile(tenant.id)
    assert len(faults) == 1
    assert "the payment provider has received" in faults[0]
    with tenant_scope(tenant.id):
        assert Reconciliation.objects.get().faults == faults
