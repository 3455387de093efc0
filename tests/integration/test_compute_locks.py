"""Operations that meet in the middle: each waits for the other at most, none is told that it deadlocked."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from billing.budgets import change_budget, create_budget
from billing.reconcile import ledger_faults
from compute import jobs, leases
from compute.beats import Beat, Claim
from compute.models import Device, Outcome
from tenants import quotas
from tenants.scoping import tenant_scope
from tests.integration.test_compute_leases import Control, World

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(as_control: Control) -> World:
    return World(as_control)


def beside(pool: ThreadPoolExecutor, act: Callable[[], Any]) -> Future[Any]:
    """Run an act in a thread of the pool, with a connection of its own."""

    def run() -> Any:
        try:
            return act()
        finally:
            connection.close()

    return pool.submit(run)


def ran_for_a_second(world: World) -> tuple[Claim, Beat]:
    """Return a running attempt and the beat that bills its first second."""
    mine = world.running()
    began = time.monotonic()
    time.sleep(1)
    return mine, Beat(elapsed=1.0, began=began)


@pytest.mark.parametrize("held_up", ["hold_for", "reserve"])
def test_a_launch_and_the_end_of_an_attempt_meet_between_money_and_quota(
    world: World, monkeypatch: pytest.MonkeyPatch, held_up: str
) -> None:
    create_budget(actor=world.actor, project_id=world.project, amount=Decimal(100), at_limit="block_new")
    mine, beat = ran_for_a_second(world)
    launching, metered = threading.Event(), threading.Event()
    owner = jobs if held_up == "hold_for" else quotas
    take, store = getattr(owner, held_up), leases._store

    def take_late(*args: Any, **named: Any) -> Any:
        launching.set()
        metered.wait(1.5)
        return take(*args, **named)

    def store_late(*args: Any) -> None:
        metered.set()
        time.sleep(0.3)
        store(*args)

    monkeypatch.setattr(owner, held_up, take_late)
    monkeypatch.setattr(leases, "_store", store_late)
    with ThreadPoolExecutor(2) as pool:
        launch = beside(pool, world.submit)
        assert launching.wait(10)
        end = beside(pool, lambda: leases.finish(mine, Outcome.SUCCEEDED, beat, complete=lambda job: {}))
        assert (end.result(20), launch.result(20) is not None) == (None, True)
    with tenant_scope(world.tenant.id):
        assert [use.in_use for use in quotas.usage()] == [1]
        assert list(ledger_faults()) == []


def test_a_budget_is_changed_while_the_platforms_failure_gives_money_back(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = create_budget(actor=world.actor, project_id=world.project, amount=Decimal(100), at_limit="block_new")
    mine, beat = ran_for_a_second(world)
    leases.heartbeat(mine, beat)
    Device.objects.filter(taken_by=None).update(state="cordoned")
    waive, releasing = leases.waive_platform, threading.Event()

    def waive_late(*args: Any) -> None:
        releasing.set()
        time.sleep(0.5)
        waive(*args)

    monkeypatch.setattr(leases, "waive_platform", waive_late)
    with ThreadPoolExecutor(2) as pool:
        end = beside(pool, lambda: leases.finish(mine, Outcome.PLATFORM, Beat(), message="the device is gone"))
        assert releasing.wait(10)
        change = beside(
            pool,
            lambda: change_budget(actor=world.actor, budget_id=budget.id, amount=Decimal(50), at_limit="block_new"),
        )
        assert (end.result(20), change.result(20).amount) == (None, Decimal(50))
    with tenant_scope(world.tenant.id):
        assert list(ledger_faults()) == []
