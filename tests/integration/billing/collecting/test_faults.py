"""A payment provider that fails: nothing happens twice, nothing is lost, and nobody waits for it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from billing.models import Collection, PaymentCircuit
from tenants.isolation.scoping import tenant_scope
from tests.api.test_matrix import client_for
from tests.fakes.stripe.faults import KINDS
from tests.integration.billing.collecting.till import Till
from tests.support import factories, selling

pytestmark = pytest.mark.django_db
#: Hours between the sweeps: keys of the provider are alive at the second and expired at the later ones.
PAUSES_H = (0, 1, 24, 24, 24)


def collected_through_faults(till: Till, count: int) -> int:
    """Push and pay many invoices while a fifth of all requests fails in seven ways; return how many were settled once."""
    tenants = [factories.make_tenant() for _ in range(max(count // 10, 1))]
    invoices = [till.top_up(tenants[at % len(tenants)], f"{1 + at}.50") for at in range(count)]
    for tenant in tenants:
        with selling.role("exchequer_control"), tenant_scope(tenant.id):
            for invoice in [it for it in invoices if tenants[invoices.index(it) % len(tenants)] is tenant]:
                Collection.objects.create(invoice_id=invoice, n=0, object_id=invoice, step="push")
    till.fake.faults.seed(7)
    till.fake.faults.spread(0.2)
    till.fake.faults.stall_s = 0
    till.fake.events.doubled, till.fake.events.shuffled, till.fake.events.forged = 0.3, True, 0.1
    for hours in PAUSES_H:
        till.advance(hours=hours)
        # A sweep of the row is one pass over all that is left: batches, until the circuit and the waits allow no more.
        for _ in range(60):
            for one in till.fake.store.all("invoice", status="open"):
                till.pay_at(one["hosted_invoice_url"])
            till.sweep()
            till.deliver()
            till.advance(seconds=61)
    stored = till.fake.store.all("invoice")
    assert Counter(one["metadata"]["our_id"] for one in stored) == Counter(str(invoice) for invoice in invoices)
    assert {one["status"] for one in stored} == {"paid"}
    assert till.fake.faults.counts.keys() == set(KINDS)
    for tenant in tenants:
        with tenant_scope(tenant.id):
            rows = list(Collection.objects.values_list("state", "received", "invoice__total", "invoice__state"))
        assert all((state, paid) == ("done", "paid") and got == total for state, got, total, paid in rows)
        assert len(till.payments(tenant)) == len(rows)
    assert till.fake.events.answers
    answered = Counter((kind == "forged", status) for kind, status in till.fake.events.answers)
    assert answered.keys() == {(True, 400), (False, 200)}, answered
    return sum(len(till.payments(tenant)) for tenant in tenants)


def test_b14_invoices_are_there_once_and_settled_although_a_fifth_of_all_requests_fails(till: Till) -> None:
    assert collected_through_faults(till, 20) == 20


@pytest.mark.nightly
def test_b14_a_thousand_invoices_are_there_once_and_settled_although_a_fifth_of_all_requests_fails(till: Till) -> None:
    assert collected_through_faults(till, 1000) == 1000


@pytest.mark.parametrize("fault", ["lost_500", "drop"])
def test_f5_a_provider_that_fails_is_left_alone_and_nobody_waits_for_it(till: Till, seller: Any, fault: str) -> None:
    tenant, invoice = till.finalised()
    others = [till.top_up(tenant, "2.00") for _ in range(8)]
    with selling.role("exchequer_control"), tenant_scope(tenant.id):
        for other in others:
            Collection.objects.create(invoice_id=other, n=0, object_id=other, step="push")
    till.fake.faults.rates = {fault: 1.0}
    asked = len(till.fake.requests)
    till.sweep(tenant)
    with selling.role("exchequer_control"):
        assert PaymentCircuit.objects.get().open_until is not None
    # Three steps with four tries each and one look for the object: the rest is not sent.
    sent = len(till.fake.requests) - asked
    assert sent < 3 * 10
    till.sweep(tenant)
    assert len(till.fake.requests) - asked == sent
    # Pages and acts ask the provider nothing.
    member = client_for(tenant, "finance")
    assert member.get(f"/t/{tenant.slug}/invoices/{invoice}/").status_code == 200
    page = seller("platform_finance").get(f"/invoices/{invoice}/")
    assert "The payment provider does not answer" in page.content.decode()
    refused = member.post(f"/api/v1/invoices/{invoice}/pay/")
    assert (refused.status_code, refused.json()["code"]) == (409, "payment_page_not_ready")
    assert len(till.fake.requests) - asked == sent
    # It answers again: what waited is sent within five minutes.
    till.fake.faults.clear()
    for _ in range(5):
        till.advance(seconds=60)
        till.sweep(tenant)
    assert [state for step, state in till.steps(tenant) if step == "push"] == ["done"] * 9


def test_a_provider_that_stalls_holds_a_sweep_for_one_request(till: Till, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each request takes 30 seconds to time out, of which four would be made for each of three steps."""
    tenant, _ = till.finalised()
    others = [till.top_up(tenant, "2.00") for _ in range(8)]
    with selling.role("exchequer_control"), tenant_scope(tenant.id):
        for other in others:
            Collection.objects.create(invoice_id=other, n=0, object_id=other, step="push")
    monkeypatch.setattr("billing.payments.attempts.monotonic_ns", lambda: 30 * 10**9 * len(till.fake.requests))
    till.fake.faults.rates = {"lost_500": 1.0}
    asked = len(till.fake.requests)
    till.sweep(tenant)
    assert len(till.fake.requests) - asked == 1
    till.fake.faults.rates = {}
    till.settle(tenant, sweeps=4)
    assert {state for _, state in till.steps(tenant)} == {"done"}
