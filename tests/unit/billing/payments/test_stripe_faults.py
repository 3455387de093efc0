"""Many invoices through a provider that fails at a fifth of all requests: none twice, none missing."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from uuid import UUID

import pytest

from billing.payments.errors import Later, OutcomeUnknown
from billing.payments.requests import Draft, InvoiceRef, Timing
from tests.fakes.stripe.faults import KINDS
from tests.support.examples import NIGHT
from tests.unit.billing.payments.conftest import START, World

INVOICES = 1000 if NIGHT else 100
#: Hours after the first calls: the keys still live at the second sweep and have expired at the later ones.
SWEEPS = (0, 1, 25, 49, 73)
CUSTOMERS = INVOICES // 10


def sweep(world: World, drafts: list[Draft]) -> list[Draft]:
    """Push each draft; return those to push again. A rate limit is waited for, as a worker does."""
    left = []
    for draft in drafts:
        for _ in range(5):
            try:
                pushed = world.gateway.push_invoice(draft, Timing(START, world.now))
                invoice = InvoiceRef(draft.our_id, draft.tenant_id, pushed.external_id)
                world.gateway.mark_paid(invoice, Timing(START, world.now))
            except Later as later:
                world.advance(seconds=min(later.after_s, 2))
                continue
            except OutcomeUnknown:
                pass
            else:
                break
            left.append(draft)
            break
        else:
            left.append(draft)
    return left


@pytest.mark.parametrize("keys_live_h", [24, 1000] if NIGHT else [1000])
def test_a_fifth_of_all_requests_fails_and_every_invoice_is_there_once(world: World, keys_live_h: int) -> None:
    world.fake.keys.life_s = keys_live_h * 3600
    customers = [world.customer(UUID(int=at)) for at in range(CUSTOMERS)]
    drafts = [world.draft(f"invoice-{at}", 100 + at, 50, customer=customers[at % CUSTOMERS]) for at in range(INVOICES)]
    world.fake.faults.seed(7)
    world.fake.faults.spread(0.2)
    world.fake.faults.stall_s = 0
    left = drafts
    for hours in SWEEPS:
        due = START + timedelta(hours=hours)
        if due > world.now:
            world.advance(seconds=(due - world.now).total_seconds())
        left = sweep(world, left)
    assert left == []
    stored = world.fake.store.all("invoice")
    assert Counter(one["metadata"]["our_id"] for one in stored) == Counter(draft.our_id for draft in drafts)
    assert {one["status"] for one in stored} == {"paid"}
    totals = {one["metadata"]["our_id"]: one["total"] for one in stored}
    assert totals == {draft.our_id: draft.total.minor for draft in drafts}
    assert len(world.fake.store.all("invoiceitem")) == 2 * INVOICES
    assert world.fake.faults.counts.keys() == set(KINDS)
