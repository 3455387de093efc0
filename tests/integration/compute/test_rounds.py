"""A round of the controller over many tenants' rows: a bad row fails alone, a lost connection ends the round."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from types import ModuleType
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection

from compute import pg_session
from compute.allocations import allocations
from compute.jobs import transitions
from compute.models import DeviceHold
from compute.scheduling import assign, reaper, slots
from tests.integration.compute.test_leases import World, expire
from tests.integration.compute.test_slots import Place, silence
from tests.support import factories

pytestmark = pytest.mark.django_db(transaction=True)

FAULTS = ["23514", "22003", "40P01", "57014"]  # a check, a number out of range, a deadlock, a cancelled statement


@pytest.fixture
def world(as_control: Callable[[], AbstractContextManager[None]]) -> World:
    return World(as_control)


@pytest.fixture
def place(as_control: Callable[[], AbstractContextManager[None]]) -> Place:
    return Place(as_control)


@pytest.fixture(params=FAULTS)
def fault(request: pytest.FixtureRequest) -> Callable[[], None]:
    """Make the database refuse with this code."""

    def refuse() -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{request.param}'; END $$")

    return refuse


def fail_first(monkeypatch: pytest.MonkeyPatch, owner: ModuleType, name: str, fault: Callable[[], None]) -> list[str]:
    """Make the first call of a function fail; return a list that records its calls."""
    act, calls = getattr(owner, name), []

    def once(*args: Any, **named: Any) -> Any:
        calls.append(name)
        if len(calls) == 1:
            fault()
        return act(*args, **named)

    monkeypatch.setattr(owner, name, once)
    return calls


def two_tenants_jobs(world: World) -> None:
    world.submit()
    world.tenant = factories.make_tenant()
    world.actor, world.project = factories.actor_for(world.tenant), factories.default_project_id(world.tenant)
    world.submit()


def test_a_bad_row_keeps_no_other_job_from_its_device(
    world: World, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], None]
) -> None:
    two_tenants_jobs(world)
    fail_first(monkeypatch, transitions, "move", fault)
    assert len(world.assign()) == 1
    assert DeviceHold.objects.count() == 1, "what failed is not half done"
    assert len(world.assign()) == 1, "and it has its own turn again"


def test_a_bad_row_keeps_no_other_attempt_from_being_reaped(
    world: World, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], None]
) -> None:
    two_tenants_jobs(world)
    for dispatch in world.assign():
        assert world.claim(dispatch) is not None
    expire(superuser)
    fail_first(monkeypatch, transitions, "end_attempt", fault)
    with world.control():
        assert reaper.reap() == 1
        assert reaper.reap() == 1
    assert not DeviceHold.objects.exists()


def test_a_job_that_a_stopped_worker_keeps_locked_holds_up_no_other(
    world: World, superuser: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    two_tenants_jobs(world)
    claims = [world.claim(dispatch) for dispatch in world.assign()]
    stuck = claims[0]
    assert stuck is not None
    expire(superuser)
    with superuser.transaction():
        superuser.execute("SELECT FROM compute_job WHERE id = %s FOR NO KEY UPDATE", [stuck.job.id])
        with world.control(), connection.cursor() as cursor:
            cursor.execute("SET lock_timeout = '200ms'")  # a wait for the lock would be an error in the log
            reaped = reaper.reap()
            cursor.execute("RESET lock_timeout")
    assert reaped == 1
    assert "controller.reaping_failed" not in caplog.text
    with world.control():
        assert reaper.reap() == 1, "and it has its own turn once it is free"


def test_a_bad_row_keeps_no_other_allocation_from_its_slot(
    place: Place, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch, fault: Callable[[], None]
) -> None:
    me = place.node("serving.a", 2)
    place.ask(tenant=factories.make_tenant())
    place.ask()
    with monkeypatch.context() as patched:
        fail_first(patched, allocations, "wake", fault)
        assert [place.assign(), place.assign()] == [1, 1]
    silence(superuser, me)
    fail_first(monkeypatch, allocations, "wake", fault)
    assert [place.reap(), place.reap()] == [1, 1]


@pytest.mark.parametrize("act", [assign.assign_all, reaper.reap, slots.assign_slots, slots.reap_slots])
def test_a_lost_connection_ends_the_round(
    world: World,
    place: Place,
    superuser: psycopg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    act: Callable[[], object],
) -> None:
    two_tenants_jobs(world)
    me = place.node("serving.a", 2)
    place.ask()
    place.ask()
    if act == reaper.reap:
        for dispatch in world.assign():
            assert world.claim(dispatch) is not None
        expire(superuser)
    if act == slots.reap_slots:
        place.assign()
        silence(superuser, me)

    def cut() -> None:
        superuser.execute("SELECT pg_terminate_backend(%s, 5000)", [pg_session.session().info.backend_pid])
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")

    owner, name = {
        assign.assign_all: (transitions, "move"),
        reaper.reap: (transitions, "end_attempt"),
        slots.assign_slots: (allocations, "wake"),
        slots.reap_slots: (allocations, "wake"),
    }[act]
    calls = fail_first(monkeypatch, owner, name, cut)
    led = pg_session.session()
    assert pg_session.is_same_session(led)
    with world.control():
        with pytest.raises(OperationalError):
            act()
        assert not pg_session.is_same_session(led)
    assert calls == [name], "nobody goes on without the session that leads"
    with world.control():
        assert act()
