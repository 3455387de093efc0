"""A price that rises while a job runs: the hold follows it, or the budget pauses the job, with the true cause."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from billing import queries
from billing.budgets import holds
from billing.budgets.budgets import change_budget, create_budget
from billing.ledger.reconcile import ledger_faults, reconcile_faults
from billing.metering.metering import billed
from billing.models import BudgetPeriod, Hold, UsageEvent
from billing.money import Money
from billing.pricing import price_books
from compute.devices.base import Found
from compute.fleet import nodes
from compute.jobs import jobs
from compute.leases import leases
from compute.leases.messages import Heartbeat
from compute.models import Attempt, Cause, Job, JobState, Outcome
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.integration.compute.test_leases import World
from tests.support import selling

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
DIMS = {"device_class": "cpu"}


def dear_soon(world: World, demo_clock: DemoClock) -> tuple[Decimal, Decimal]:
    """Publish ten times the price and stop ten seconds before its start; return the old price and the new."""
    with tenant_scope(world.tenant.id):
        selling.provision_defaults()
        old = price_books.price_at("device_seconds", DIMS).unit_amount
        prices = [selling.NewPrice("device_seconds", {}, old * 10)]
        book = queries.price_books()[0].id
        selling.publish(book_id=book, prices=prices, effective_at=now() + timedelta(minutes=6))
    demo_clock.advance(timedelta(minutes=5, seconds=50))
    beat_of_the_node(world)
    return old, old * 10


def beat_of_the_node(world: World) -> None:
    """Refresh the node's heartbeat after a move of the clock."""
    found = [Found("cpu-0", "cpu", "cpu", "CPU 0 of host h", 0, 2**30)]
    nodes.register(name="n1", hostname="h", boot=world.boot, found=found, missing_layers=[])


def publish(world: World, price: Decimal) -> None:
    """Publish one price of all device seconds, in force five minutes from now."""
    with tenant_scope(world.tenant.id):
        book = queries.price_books()[0].id
        selling.publish(book_id=book, prices=[selling.NewPrice("device_seconds", {}, price)])


def launched_for_nothing(world: World, demo_clock: DemoClock, price: Decimal) -> tuple[leases.Claim, float]:
    """Run a free job of 100 s, ten seconds before the price starts; return its claim and its start."""
    with tenant_scope(world.tenant.id):
        selling.provision_defaults()
    publish(world, Decimal(0))
    demo_clock.advance(timedelta(minutes=6))
    publish(world, price)
    demo_clock.advance(timedelta(minutes=4, seconds=50))
    beat_of_the_node(world)
    mine, began = world.running(max_seconds=100), time.monotonic()
    time.sleep(0.2)
    assert leases.heartbeat(mine, Heartbeat(elapsed=0.2, began=began)).stop is None
    with tenant_scope(world.tenant.id):
        assert Job.objects.get(id=mine.job.id).hold_id is None
    demo_clock.advance(timedelta(seconds=20))
    return mine, began


def test_the_hold_of_a_running_job_follows_its_price(
    as_control: Callable[[], AbstractContextManager[None]], demo_clock: DemoClock
) -> None:
    world = World(as_control)
    old, new = dear_soon(world, demo_clock)
    mine, began = world.running(max_seconds=100), time.monotonic()
    time.sleep(0.2)
    assert leases.heartbeat(mine, Heartbeat(elapsed=0.2, began=began)).stop is None
    demo_clock.advance(timedelta(seconds=20))
    answer = leases.heartbeat(mine, Heartbeat(elapsed=20.0, began=began))
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
    answer = leases.heartbeat(mine, Heartbeat(elapsed=12.0, began=began))
    assert answer.stop == Outcome.BUDGET
    with tenant_scope(world.tenant.id):
        (status,) = queries.budgets()
        assert status.spent.amount + status.held.amount <= old * 120
        assert list(ledger_faults()) == []


def test_a_job_launched_for_nothing_is_held_from_the_start_of_a_price(
    as_control: Callable[[], AbstractContextManager[None]], demo_clock: DemoClock
) -> None:
    world = World(as_control)
    create_budget(actor=world.actor, amount=Decimal(1000), at_limit="stop_running")
    mine, began = launched_for_nothing(world, demo_clock, Decimal(5))
    assert leases.heartbeat(mine, Heartbeat(elapsed=20.0, began=began)).stop is None
    with tenant_scope(world.tenant.id):
        job = Job.objects.get(id=mine.job.id)
        hold = Hold.objects.get(pk=job.hold_id)
        assert (hold.subject, hold.placed_by_id, hold.placed_by) == (job.subject, world.actor.id, world.actor.label)
        assert hold.amount - hold.settled >= 5 * (100 - job.measured_s)
        charge = billed([job.id])[job.id]
        assert Decimal(0) < charge.amount == hold.settled < 5 * charge.seconds
    # A price that falls to zero again removes no hold and needs no other.
    publish(world, Decimal(0))
    demo_clock.advance(timedelta(minutes=6))
    with tenant_scope(world.tenant.id):
        Attempt.objects.update(lease_until=now() + timedelta(minutes=1))
    leases.heartbeat(mine, Heartbeat(elapsed=21.0, began=began))
    leases.finish(mine, Outcome.CANCELLED, Heartbeat(elapsed=22.0, began=began))
    with tenant_scope(world.tenant.id):
        (status,) = queries.budgets()
        assert status.spent.amount == Hold.objects.get().settled
        assert list(ledger_faults()) == []


def test_a_budget_without_headroom_for_a_new_price_pauses_the_job(
    as_control: Callable[[], AbstractContextManager[None]], demo_clock: DemoClock
) -> None:
    world = World(as_control)
    create_budget(actor=world.actor, amount=Decimal(10), at_limit="stop_running")
    mine, began = launched_for_nothing(world, demo_clock, Decimal(5))
    # Repeated with every heartbeat: a reply may be lost on its way to the node.
    for elapsed in (12.0, 20.0):
        assert leases.heartbeat(mine, Heartbeat(elapsed=elapsed, began=began)).stop == Outcome.BUDGET
    leases.finish(mine, Outcome.BUDGET, Heartbeat(elapsed=21.0, began=began))
    with tenant_scope(world.tenant.id):
        job = Job.objects.get(id=mine.job.id)
        assert (job.state, job.cause, job.hold_id) == (JobState.PAUSED, Cause.BUDGET, None)
        (status,) = queries.budgets()
        assert (status.spent.amount, status.held.amount) == (0, 0)
        charge = billed([job.id])[job.id]
        assert charge.measured == job.measured_s > charge.seconds
        assert list(ledger_faults()) == []


def test_a_full_budget_at_the_months_turn_pauses_the_job(
    as_control: Callable[[], AbstractContextManager[None]], demo_clock: DemoClock
) -> None:
    world = World(as_control)
    demo_clock.move_to(datetime(2027, 1, 31, 23, 59, 40, tzinfo=UTC))
    beat_of_the_node(world)
    with tenant_scope(world.tenant.id):
        selling.provision_defaults()
        second = price_books.price_at("device_seconds", DIMS).unit_amount
    budget = create_budget(actor=world.actor, amount=second * 200, at_limit="block_new")
    mine, began = world.running(max_seconds=100), time.monotonic()
    time.sleep(0.2)
    leases.heartbeat(mine, Heartbeat(elapsed=0.2, began=began))
    demo_clock.move_to(datetime(2027, 2, 1, 0, 0, 1, tzinfo=UTC))
    with tenant_scope(world.tenant.id):  # February: another launch leaves headroom for ten seconds
        holds.hold(project_id=world.project, subject="other", amount=Money(second * 190, "EUR"))
    assert leases.heartbeat(mine, Heartbeat(elapsed=15.0, began=began)).stop is None
    demo_clock.move_to(datetime(2027, 2, 1, 0, 0, 20, tzinfo=UTC))
    answer = leases.heartbeat(mine, Heartbeat(elapsed=35.0, began=began))
    assert (answer.stop, answer.limit, answer.left_s > 0) == (Outcome.BUDGET, Outcome.TIME_LIMIT, True)
    leases.finish(mine, answer.stop or Outcome.SUCCEEDED, Heartbeat(elapsed=36.0, began=began))
    with tenant_scope(world.tenant.id):
        job = Job.objects.get(id=mine.job.id)
        assert (job.state, job.cause) == (JobState.PAUSED, Cause.BUDGET)
        assert list(ledger_faults()) == []
    change_budget(actor=world.actor, budget_id=budget.id, amount=second * 400)
    assert jobs.resume(actor=world.actor, job_id=mine.job.id).state == JobState.QUEUED


def test_a_price_that_rises_with_the_month_asks_the_budget_of_the_new_month(
    as_control: Callable[[], AbstractContextManager[None]], demo_clock: DemoClock
) -> None:
    world = World(as_control)
    demo_clock.move_to(datetime(2027, 1, 31, 23, 55, tzinfo=UTC))
    with tenant_scope(world.tenant.id):
        selling.provision_defaults()
        second = price_books.price_at("device_seconds", DIMS).unit_amount
    publish(world, second * 2)
    demo_clock.move_to(datetime(2027, 1, 31, 23, 59, 50, tzinfo=UTC))
    beat_of_the_node(world)
    create_budget(actor=world.actor, amount=second * 400, at_limit="block_new")
    mine, began = world.running(max_seconds=100), time.monotonic()
    time.sleep(0.2)
    leases.heartbeat(mine, Heartbeat(elapsed=0.2, began=began))
    with tenant_scope(world.tenant.id):  # January is full from here on
        holds.hold(
            project_id=world.project, subject="other", amount=Money(queries.headroom(world.project) or second, "EUR")
        )
    demo_clock.move_to(datetime(2027, 2, 1, 0, 0, 5, tzinfo=UTC))
    assert leases.heartbeat(mine, Heartbeat(elapsed=14.0, began=began)).stop is None
    with tenant_scope(world.tenant.id):
        hold = Hold.objects.get(pk=Job.objects.get(id=mine.job.id).hold_id)
        assert hold.period == datetime(2027, 2, 1, tzinfo=UTC).date()
        assert hold.amount - hold.settled >= second * 2 * 85
        assert list(ledger_faults()) == []


def test_after_its_price_is_removed_a_job_runs_on_without_charge(
    as_control: Callable[[], AbstractContextManager[None]], demo_clock: DemoClock
) -> None:
    world = World(as_control)
    dear_soon(world, demo_clock)
    with tenant_scope(world.tenant.id):
        prices = [selling.NewPrice("inference_requests", {}, Decimal(1))]
        selling.publish(book_id=queries.price_books()[0].id, prices=prices)
    demo_clock.advance(timedelta(minutes=4, seconds=50))
    beat_of_the_node(world)
    mine, began = world.running(max_seconds=100), time.monotonic()
    time.sleep(0.2)
    leases.heartbeat(mine, Heartbeat(elapsed=0.2, began=began))
    demo_clock.advance(timedelta(seconds=20))
    assert leases.heartbeat(mine, Heartbeat(elapsed=20.0, began=began)).stop is None
    with tenant_scope(world.tenant.id):
        charge = billed([mine.job.id])[mine.job.id]
        assert 0 < charge.seconds < charge.measured


def test_seconds_before_a_months_turn_stay_in_their_month_at_a_new_price(
    as_control: Callable[[], AbstractContextManager[None]], demo_clock: DemoClock
) -> None:
    with tenant_scope((world := World(as_control)).tenant.id):
        zone = ZoneInfo(Tenant.objects.get(pk=world.tenant.id).timezone)
    month = now().astimezone(zone).replace(day=1, hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    turn = (month + timedelta(days=32)).replace(day=1, tzinfo=zone).astimezone(UTC)
    demo_clock.move_to(turn - timedelta(minutes=6))
    old, new = dear_soon(world, demo_clock)
    create_budget(actor=world.actor, amount=Decimal(1000), at_limit="block_new")
    mine, began = world.running(max_seconds=100), time.monotonic()
    time.sleep(0.2)
    assert leases.heartbeat(mine, Heartbeat(elapsed=0.2, began=began)).stop is None
    demo_clock.advance(timedelta(seconds=20))
    assert leases.heartbeat(mine, Heartbeat(elapsed=20.0, began=began)).stop is None
    with tenant_scope(world.tenant.id):
        spent = list(BudgetPeriod.objects.order_by("period").values_list("spent", flat=True))
        rated = UsageEvent.objects.order_by("started_at").values_list("period", "amount")
        months = [sum(amount for one, amount in rated if one == period) for period in sorted({one for one, _ in rated})]
        assert len(months) == 2
        assert spent == months
        assert old > 0 and new > old
        assert [*ledger_faults(), *reconcile_faults()] == []
