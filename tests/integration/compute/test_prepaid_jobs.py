"""Prepaid work: launches and heartbeats within the wallet, as within a budget that stops running work."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from uuid import UUID

import pytest
from django.db import connection

from billing.budgets.counters import BudgetExceeded
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.models import Wallet
from billing.pricing.price_books import price_at
from billing.queries import billed, headroom
from compute.leases import leases
from compute.leases.messages import Heartbeat
from compute.models import Cause, Job, JobState, Outcome
from tenants.isolation.scoping import tenant_scope
from tests.integration.billing.wallets.scene import grant, withdraw
from tests.integration.compute.test_leases import WORST_S, World
from tests.support import factories, selling

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]


def prepaid_world(as_control: Control, launches: str) -> tuple[World, UUID, Decimal]:
    """Return a world whose wallet pays for so many launches in whole cents, its credit, and what a launch holds."""
    tenant = factories.make_tenant(contract=False)
    selling.open_contract(tenant, terms={"prepaid": True})
    world = World(as_control, tenant)
    with tenant_scope(tenant.id):
        price = price_at("device_seconds", {"device_class": "cpu", "tier": "on_demand"}).unit_amount
    worst = price * WORST_S
    cents = (worst * Decimal(launches) * 100).to_integral_value()
    return world, grant(tenant, f"{cents / 100:.2f}"), worst


def sound(world: World) -> None:
    with tenant_scope(world.tenant.id):
        assert [str(fault) for fault in (*ledger_faults(), *reconcile_faults())] == []


def test_of_sixteen_launches_that_race_for_a_wallet_three_are_let_in(as_control: Control) -> None:
    world, _, worst = prepaid_world(as_control, "3.5")
    answers: list[str] = []

    def launch() -> None:
        try:
            answers.append(str(world.submit()))
        except BudgetExceeded as refusal:
            answers.append(refusal.message)
        finally:
            connection.close()

    threads = [threading.Thread(target=launch) for _ in range(16)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len([answer for answer in answers if "left in the wallet" in answer]) == 13
    with tenant_scope(world.tenant.id):
        assert Job.objects.count() == 3
        assert Wallet.objects.get().held == 3 * worst
        assert headroom(world.project) < worst  # type: ignore[operator]
    sound(world)


def test_a_prepaid_job_pauses_when_its_wallet_is_emptied_and_is_charged_no_second_more(as_control: Control) -> None:
    world, block, _ = prepaid_world(as_control, "1.5")
    mine, began = world.running(max_seconds=100), time.monotonic()
    leases.heartbeat(mine, Heartbeat(elapsed=5.0, began=began))
    withdraw(world.tenant, block)
    with tenant_scope(world.tenant.id):
        before = billed([mine.job.id])[mine.job.id]
    # Repeated with every heartbeat: a reply may be lost on its way to the node.
    for elapsed in (12.0, 20.0):
        assert leases.heartbeat(mine, Heartbeat(elapsed=elapsed, began=began)).stop == Outcome.BUDGET
    leases.finish(mine, Outcome.BUDGET, Heartbeat(elapsed=21.0, began=began))
    with tenant_scope(world.tenant.id):
        job = Job.objects.get(id=mine.job.id)
        assert (job.state, job.cause, job.hold_id) == (JobState.PAUSED, Cause.BUDGET, None)
        charge = billed([job.id])[job.id]
        assert charge.amount == before.amount
        assert Wallet.objects.get().held == 0
    sound(world)
    with pytest.raises(BudgetExceeded):
        world.submit()
