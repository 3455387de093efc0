"""A price that rises while a job runs: the hold follows it, or the budget pauses the job; nobody is stopped for a false cause."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from billing import pricing, queries
from billing.budgets import create_budget
from billing.metering import billed
from billing.models import Hold
from billing.reconcile import ledger_faults
from compute import leases, nodes
from compute.beats import Beat
from compute.devices.base import Found
from compute.models import Job, Outcome
from tenants.clock import now
from tenants.scoping import tenant_scope
from tests.integration.test_compute_leases import World

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
DIMS = {"device_class": "cpu"}


def dear_soon(world: World, demo_clock: DemoClock) -> tuple[Decimal, Decimal]:
    """Publish ten times the price and stand ten seconds before it rules; return the old price and the new."""
    with tenant_scope(world.tenant.id):
        pricing.provision_defaults()
        old = pricing.price_at("device_seconds", DIMS).unit_amount
        prices = [pricing.NewPrice("device_seconds", {}, old * 10)]
        book = queries.price_books()[0].id
        pricing.publish(actor=world.actor, book_id=book, prices=prices, effective_at=now() + timedelta(minutes=6))
    demo_clock.advance(timedelta(minutes=5, seconds=50))
    found = [Found("cpu-0", "cpu", "cpu", "CPU 0 of host h", 0, 2**30)]
    nodes.register(name="n1", hostname="h", boot=world.boot, found=found, missing_layers=[])
    return old, old * 10


def test_the_hold_of_a_running_job_follows_its_price(
    as_control: Callable[[], AbstractContextManager[None]], demo_clock: DemoClock
) -> None:
    world = World(as_control)
    old, new = dear_soon(world, demo_clock)
    mine, began = world.running(max_seconds=100), time.monotonic()
    time.sleep(0.2)
    assert leases.heartbeat(mine, Beat(elapsed=0.2, began=began)).stop is None
    demo_clock.advance(timedelta(seconds=20))
    answer = leases.heartbeat(mine, Beat(elapsed=20.0, began=began))
    assert answer.stop is None
    with tenant_scope(world.tenant.id):
        job = Job.objects.get(id=mine.job.id)
        hold = Hold.objects.get(pk=job.hold_id)
        charge = billed([job.id])[job.id]
        assert job.unit_amount == new
        assert hold.amount - hold.settled >= new * (100 - job.measured_s)
        assert charge.seconds == job.measured_s
        assert old * charge.seconds < charge.amount < new * charge.seconds
        assert list(ledger_faults()) == []


def test_a_budget_without_room_for_the_new_price_pauses_the_job(
    as_control: Callable[[], AbstractContextManager[None]], demo_clock: DemoClock
) -> None:
    world = World(as_control)
    old, _ = dear_soon(world, demo_clock)
    create_budget(actor=world.actor, project_id=world.project, amount=old * 120, at_limit="block_new")
    mine, began = world.running(max_seconds=100), time.monotonic()
    demo_clock.advance(timedelta(seconds=20))
    answer = leases.heartbeat(mine, Beat(elapsed=12.0, began=began))
    assert answer.stop == Outcome.BUDGET
    with tenant_scope(world.tenant.id):
        (status,) = queries.budgets()
        assert status.spent.amount + status.held.amount <= old * 120
        assert list(ledger_faults()) == []
