"""By night: a payment provider that really stalls."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection

from billing.models import PaymentCircuit
from tests.api.test_matrix import client_for
from tests.integration.billing.collecting.till import Till
from tests.support import selling
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.nightly, pytest.mark.django_db(transaction=True)]


@pytest.mark.parametrize(
    "stall_s",
    [pytest.param(10, id="answers after ten seconds"), pytest.param(31, id="answers after our patience")],
)
def test_f5_while_the_provider_really_stalls_pages_are_answered_and_then_the_backlog_drains(
    till: Till, seller: Any, stall_s: int
) -> None:
    tenant, invoice = till.finalised()
    member, console = client_for(tenant, "finance"), seller("platform_finance")
    till.fake.faults.stall_s, till.fake.faults.rates = stall_s, {"stall": 1.0}

    def sweep() -> None:
        try:
            till.sweep(tenant)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        stalled = pool.submit(sweep)
        wait_until(lambda: till.fake.requests, "the first request")
        for _ in range(10):
            assert member.get(f"/t/{tenant.slug}/invoices/{invoice}/").status_code == 200
            assert member.post(f"/api/v1/invoices/{invoice}/pay/").status_code == 409
            assert console.get(f"/invoices/{invoice}/").status_code == 200
        assert not stalled.done(), "the provider was silent all the time"
        stalled.result()
    if stall_s > 30:
        # Nothing was repeated at once; two more such sweeps, and it is left alone.
        assert len(till.fake.requests) == 1
        for _ in range(2):
            till.advance(seconds=130)
            till.sweep(tenant)
        with selling.role("exchequer_control"):
            assert PaymentCircuit.objects.get().open_until is not None
    till.fake.faults.clear()
    wait_until(lambda: not till.fake.keys.running(), "the end of what stalls")
    for _ in range(5):
        till.advance(seconds=60)
        till.sweep(tenant)
    assert {state for _, state in till.steps(tenant)} == {"done"}
    assert till.at_provider(invoice)["status"] == "open"
    assert till.pay_at(till.url(tenant, invoice)) == 303
    till.settle(tenant, sweeps=2)
    assert till.seen(tenant, invoice).state == "paid"
