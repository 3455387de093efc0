"""Concurrent operations: each waits for the other at most, none fails with a deadlock."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection

from billing.budgets import holds
from billing.budgets.budgets import change_budget, create_budget
from billing.ledger.reconcile import ledger_faults
from compute.devices.base import Found
from compute.fleet import nodes
from compute.jobs import jobs, transitions
from compute.leases import leases
from compute.leases.messages import Claim, Heartbeat
from compute.models import Device, Job, Outcome
from compute.scheduling import reaper
from tenants import quotas
from tenants.isolation.scoping import tenant_scope
from tests.integration.compute.test_leases import Control, World, expire
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(as_control: Control) -> World:
    return World(as_control)


def beside(pool: ThreadPoolExecutor, act: Callable[[], Any]) -> Future[Any]:
    """Run a function in a thread of the pool, with its own connection."""

    def run() -> Any:
        try:
            return act()
        finally:
            connection.close()

    return pool.submit(run)


def somebody_waits(superuser: psycopg.Connection) -> bool:
    """Return whether a session of this database waits for a lock."""
    asked = "SELECT count(*) FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE datname = %s AND NOT granted"
    row = superuser.execute(asked, [connection.settings_dict["NAME"]]).fetchone()
    return row is not None and row[0] > 0


def wait_until_they_meet(met: Callable[[], bool]) -> None:
    """Wait until two have met; a test in which they missed each other proves nothing."""
    wait_until(met, "they meet")


def ran_for_a_second(world: World) -> tuple[Claim, Heartbeat]:
    """Return a running attempt and the heartbeat that bills its first second."""
    mine = world.running()
    began = time.monotonic()
    time.sleep(1)
    return mine, Heartbeat(elapsed=1.0, began=began)


@pytest.mark.parametrize("held_up", ["hold_for", "reserve"])
def test_a_launch_and_the_end_of_an_attempt_meet_between_money_and_quota(
    world: World, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, held_up: str
) -> None:
    create_budget(actor=world.actor, project_id=world.project, amount=Decimal(100), at_limit="block_new")
    mine, beat = ran_for_a_second(world)
    launching, metered = threading.Event(), threading.Event()
    owner = jobs if held_up == "hold_for" else quotas
    take, store = getattr(owner, held_up), leases._store

    def take_late(*args: Any, **named: Any) -> Any:
        launching.set()
        # A launch that has the money blocks the end.
        wait_until_they_meet(lambda: metered.is_set() or somebody_waits(superuser))
        return take(*args, **named)

    def store_late(*args: Any) -> None:
        metered.set()
        time.sleep(0.3)  # while the launch asks for the money; if it waits for this lock, no event says so
        store(*args)

    monkeypatch.setattr(owner, held_up, take_late)
    monkeypatch.setattr(leases, "_store", store_late)
    with ThreadPoolExecutor(2) as pool:
        launch = beside(pool, world.submit)
        assert launching.wait(60)
        end = beside(pool, lambda: leases.finish(mine, Outcome.SUCCEEDED, beat, complete=lambda job: {}))
        assert (end.result(90), launch.result(90) is not None) == (None, True)
    with tenant_scope(world.tenant.id):
        assert [use.in_use for use in quotas.usage() if use.resource == "devices:cpu"] == [0]
        assert list(ledger_faults()) == []


def test_a_budget_is_changed_while_a_waiver_returns_money(
    world: World, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    budget = create_budget(actor=world.actor, project_id=world.project, amount=Decimal(100), at_limit="block_new")
    mine, beat = ran_for_a_second(world)
    leases.heartbeat(mine, beat)
    Device.objects.filter(held=0).update(state="cordoned")
    waive, releasing = transitions.waive_platform, threading.Event()

    def waive_late(*args: Any) -> None:
        releasing.set()
        wait_until_they_meet(lambda: somebody_waits(superuser))
        waive(*args)

    monkeypatch.setattr(transitions, "waive_platform", waive_late)
    with ThreadPoolExecutor(2) as pool:
        end = beside(pool, lambda: leases.finish(mine, Outcome.PLATFORM, Heartbeat(), message="the device is gone"))
        assert releasing.wait(60)
        change = beside(
            pool,
            lambda: change_budget(actor=world.actor, budget_id=budget.id, amount=Decimal(50), at_limit="block_new"),
        )
        assert (end.result(90), change.result(90).amount) == (None, Decimal(50))
    with tenant_scope(world.tenant.id):
        assert list(ledger_faults()) == []


def test_a_node_registers_again_while_the_controller_assigns_its_devices(
    world: World, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.submit()
    move, assigning = transitions.move, threading.Event()

    def move_late(*args: Any, **named: Any) -> None:
        move(*args, **named)
        assigning.set()
        # The device is taken; at the commit the attempt references its node.
        wait_until_they_meet(lambda: somebody_waits(superuser))

    found = [Found(f"cpu-{index}", "cpu", "cpu", f"CPU {index} of host h", index, 2**30) for index in range(2)]

    def register() -> nodes.Registered:
        assert assigning.wait(60)
        return nodes.register(name="n1", hostname="h", boot=uuid.uuid4(), found=found, missing_layers=[])

    monkeypatch.setattr(transitions, "move", move_late)
    with ThreadPoolExecutor(1) as pool:
        registered = beside(pool, register)
        assert len(world.assign()) == 1
        assert registered.result(90).name == "n1"
    assert Device.objects.count() == 2


@pytest.mark.parametrize("ended", ["finished", "reaped"])
def test_what_is_waived_is_given_back_before_the_quota(
    world: World, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, ended: str
) -> None:
    mine, beat = ran_for_a_second(world)
    leases.heartbeat(mine, beat)
    with tenant_scope(world.tenant.id):
        Job.objects.update(infrastructure_kills=19)
    touched: list[str] = []

    def noted(owner: Any, name: str, what: str) -> None:
        act = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *args, **named: (touched.append(what), act(*args, **named))[1])

    noted(holds, "release", "hold")
    noted(transitions, "waive_usage", "waiver")
    noted(quotas, "release", "quota")
    if ended == "reaped":
        expire(superuser)
        with world.control():
            assert reaper.reap() == 1
    else:
        leases.finish(mine, Outcome.DISK_FULL, Heartbeat(), message="disk full")
    with tenant_scope(world.tenant.id):
        assert Job.objects.get().cause == "platform"
        assert [use.in_use for use in quotas.usage() if use.resource == "devices:cpu"] == [0]
    assert touched == ["hold", "waiver", "quota"]
