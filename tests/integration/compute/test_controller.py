"""Decisions of the controller against the real database; tests/faults test its processes."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from celery.schedules import crontab
from django.test import Client

from compute import queries
from compute.devices.base import Found
from compute.fleet import nodes
from compute.jobs import jobs
from compute.leases import leases
from compute.leases.messages import Claim, Heartbeat, Sample
from compute.models import Attempt, Device, DeviceHold, Node, Outcome
from compute.queries import device_hours
from compute.scheduling import assign, periodic, reaper
from tenants.clock import now
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.operators import grants
from tests.conftest import DemoClock
from tests.integration.compute.test_leases import World, expire
from tests.support import factories
from tests.support.concurrency import as_controllers

pytestmark = pytest.mark.django_db(transaction=True)

Control = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def world(as_control: Control) -> World:
    return World(as_control)


def test_jobs_get_the_free_devices_and_no_more(world: World) -> None:
    submitted = [world.submit() for _ in range(3)]
    dispatches = world.assign()
    assert [dispatch.node for dispatch in dispatches] == ["n1", "n1"]
    assert world.assign() == []
    with tenant_scope(world.tenant.id):
        assert queries.counts_by_state() | {"running": 2, "queued": 1} == queries.counts_by_state()
        waiting = queries.job_detail(submitted[2]).waiting_for
    assert waiting is not None
    assert waiting.items() >= {"kind": "device", "device_class": "cpu", "own_jobs_ahead": 0, "position": 1}.items()


def test_two_controllers_that_assign_at_once_give_each_job_one_attempt(world: World) -> None:
    for _ in range(2):
        world.submit()
    dispatches = [one for given in as_controllers(assign.assign_all, 4) for one in given]
    assert len({dispatch.attempt_id for dispatch in dispatches}) == len(dispatches) == 2
    assert DeviceHold.objects.count() == 2


def test_an_expired_attempt_returns_its_job_to_the_queue(world: World, superuser: psycopg.Connection) -> None:
    mine = world.running()
    with world.control():
        assert reaper.reap() == 0
    expire(superuser)
    with world.control():
        assert reaper.reap() == 1
        assert reaper.reap() == 0
    with tenant_scope(world.tenant.id):
        job = queries.job_detail(mine.job.id)
    assert (job.state, [run.cause for run in job.attempts]) == ("queued", ["lost"])
    assert world.assign()[0].token == 2


def test_an_unclaimed_attempt_gets_another_wake_up(world: World, superuser: psycopg.Connection) -> None:
    world.submit()
    (dispatch,) = world.assign()
    with world.control():
        assert assign.unclaimed() == []
        superuser.execute("UPDATE compute_attempt SET rung_at = clock_timestamp() - interval '1 hour'")
        assert assign.unclaimed() == [dispatch]
        assert assign.unclaimed() == []


def test_a_lost_node_costs_an_unclaimed_job_nothing(world: World, superuser: psycopg.Connection) -> None:
    job_id = world.submit()
    world.assign()
    superuser.execute("UPDATE compute_node SET last_seen_at = clock_timestamp() - interval '1 hour'")
    superuser.execute("UPDATE compute_attempt SET assigned_at = clock_timestamp() - interval '1 hour'")
    with world.control():
        assert reaper.reap() == 1
    with tenant_scope(world.tenant.id):
        assert jobs.Job.objects.get(id=job_id).infrastructure_kills == 0
        assert queries.job_detail(job_id).state == "queued"


def leave_unclaimed(superuser: psycopg.Connection, seconds: float) -> None:
    superuser.execute(
        "UPDATE compute_attempt SET assigned_at = clock_timestamp() - %s * interval '1 second'", [seconds]
    )
    superuser.execute("UPDATE compute_node SET last_seen_at = clock_timestamp()")


def test_an_attempt_unclaimed_by_a_live_node_is_requeued_at_no_cost(
    world: World, superuser: psycopg.Connection
) -> None:
    job_id = world.submit()
    (dispatch,) = world.assign()
    leave_unclaimed(superuser, 55)
    with world.control():
        assert reaper.reap() == 0, "a node may be slow to claim"
    leave_unclaimed(superuser, 65)
    with world.control():
        assert (reaper.reap(), reaper.reap()) == (1, 0)
    assert not DeviceHold.objects.exists()
    with tenant_scope(world.tenant.id):
        job, row = queries.job_detail(job_id), jobs.Job.objects.get(id=job_id)
    assert (job.state, [run.cause for run in job.attempts]) == ("queued", ["stopped"])
    assert (row.own_crashes, row.infrastructure_kills, row.not_before) == (0, 0, None)
    assert world.claim(dispatch) is None, "the wake-up that arrives at last is too late"


def test_a_node_that_leaves_an_attempt_unclaimed_gets_no_other_until_it_answers(
    world: World, superuser: psycopg.Connection
) -> None:
    me = nodes.Registered(Node.objects.get().id, "n1", world.boot)
    world.submit()
    world.assign()
    with world.control():
        assert assign.unresponsive_nodes() == []
    leave_unclaimed(superuser, 65)
    with world.control():
        reaper.reap()
        assert assign.unresponsive_nodes() == ["n1"]
    assert world.assign() == []
    nodes.answer(nodes.Registered(me.node_id, "n1", uuid.uuid4()))
    assert world.assign() == [], "another run of the worker says nothing about this one"
    nodes.answer(me)
    with world.control():
        assert assign.unresponsive_nodes() == []
    assert [dispatch.token for dispatch in world.assign()] == [2]


def test_a_silent_node_is_not_called(world: World, superuser: psycopg.Connection) -> None:
    world.submit()
    world.assign()
    leave_unclaimed(superuser, 65)
    superuser.execute("UPDATE compute_node SET last_seen_at = clock_timestamp() - interval '1 hour'")
    with world.control():
        assert reaper.reap() == 1
        assert assign.unresponsive_nodes() == []
    assert Node.objects.get().accepting, "it is given work again when it is back"


def test_the_twentieth_lost_attempt_fails_the_job_and_gives_its_money_back(
    world: World, superuser: psycopg.Connection
) -> None:
    mine = world.running()
    with tenant_scope(world.tenant.id):
        Attempt.objects.filter(id=mine.attempt_id).update(claimed_at=now() - timedelta(seconds=10))
        jobs.Job.objects.update(infrastructure_kills=19)
    leases.heartbeat(mine, Heartbeat(elapsed=4.0))
    with tenant_scope(world.tenant.id):
        assert queries.job_detail(mine.job.id).cost.amount > 0
    expire(superuser)
    with world.control():
        assert reaper.reap() == 1
    with tenant_scope(world.tenant.id):
        job = queries.job_detail(mine.job.id)
    assert (job.state, job.cause, job.cost.amount, job.billed_seconds) == ("failed", "platform", 0, 0)


def test_a_tick_fires_once_for_all_controllers(as_control: Control, demo_clock: DemoClock) -> None:
    demo_clock.move_to(datetime(2026, 3, 1, 4, 30, tzinfo=UTC))  # far from the next hour
    sent: list[str] = []
    table = {
        "often": {"schedule": 3600.0, "task": "often"},
        "never": {
            "schedule": crontab(month_of_year=[13 - 1], day_of_month=[31], hour=[23], minute=[59]),
            "task": "never",
        },
    }
    with as_control():
        assert [periodic.fire(table, lambda entry: sent.append(str(entry["task"]))) for _ in range(3)] == [1, 0, 0]
    assert sent == ["often"]


def test_a_tick_that_could_not_be_sent_is_fired_again(as_control: Control) -> None:
    def away(entry: object) -> None:
        raise ConnectionError

    table = {"often": {"schedule": timedelta(hours=1), "task": "often"}}
    with as_control():
        with pytest.raises(ConnectionError):
            periodic.fire(table, away)
        assert periodic.fire(table, lambda entry: None) == 1


def test_a_crontab_is_due_in_its_minute_only() -> None:
    moment = datetime(2026, 3, 1, 4, 30, 12, tzinfo=UTC)  # a Sunday
    assert periodic.tick_of(crontab(minute=30, hour=4, day_of_week="sun"), moment) == moment.replace(second=0)
    assert periodic.tick_of(crontab(minute=31), moment) is None
    assert periodic.tick_of(60.0, moment) == moment.replace(second=0)


@pytest.fixture
def used(world: World) -> Claim:
    mine = world.running()
    with tenant_scope(world.tenant.id):
        Attempt.objects.filter(id=mine.attempt_id).update(claimed_at=now() - timedelta(seconds=20))
    leases.heartbeat(mine, Heartbeat(elapsed=2.0, samples=[Sample(2.0, 0.75, 1000)]))
    leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=2.0), complete=lambda job: {})
    return mine


def test_utilisation_adds_up(world: World, used: Claim) -> None:
    with tenant_scope(world.tenant.id):
        end = now() + timedelta(minutes=1)
        rows = device_hours.utilisation(end - timedelta(hours=2), end)
        by_project = device_hours.utilisation(end - timedelta(hours=2), end, ["project"])
        with pytest.raises(Invalid):
            device_hours.utilisation(end, end)
        with pytest.raises(Invalid):
            device_hours.utilisation(end - timedelta(hours=1), end, ["colour"])
    assert {row.group["device_class"] for row in rows} == {"cpu"}
    assert sum(row.used_s for row in rows) == pytest.approx(1.5)
    for row in rows:
        assert row.allocated_s == pytest.approx(row.used_s + row.idle_s)
        assert row.capacity_s == pytest.approx(row.allocated_s + row.held_s + row.free_s)
        assert row.allocated_cost == row.used_cost + row.idle_cost
    assert {row.energy_kwh for row in rows if row.used_s} == {None}, "a CPU device does not measure its power"
    (project,) = by_project
    assert project.group == {"project": "default"}
    assert project.allocated_s >= project.used_s


def test_operators_read_the_use_of_all_tenants_in_sums(
    world: World, used: Claim, console: Control, as_control: Control
) -> None:
    with tenant_scope(world.tenant.id):
        end = now() + timedelta(minutes=1)
        (own,) = device_hours.utilisation(end - timedelta(hours=2), end, ["device_class"])
    secret = "xop_of-the-first-operator-of-all"
    with as_control():
        grants.create_first("root@platform.example", factories.PASSWORD, secret)

    def asked(groups: str, hours: int = 2) -> Any:
        span = {"from": (end - timedelta(hours=hours)).isoformat(), "to": end.isoformat(), "group_by": groups}
        with console():
            key = {"Authorization": f"Bearer {secret}"}
            return Client().get("/api/operator/v1/utilisation/", span, headers=key)

    (row,) = asked("tenant").json()["results"]
    (whole,) = asked("device_class").json()["results"]
    assert row["group"] == {"tenant": str(world.tenant.id)}
    for found in (row, whole):
        assert found["used_s"] == pytest.approx(own.used_s) and found["used_s"] > 0
        assert found["allocated_s"] == pytest.approx(own.allocated_s)
        assert found["allocated_s"] == pytest.approx(found["used_s"] + found["idle_s"])
        assert found["capacity_s"] == pytest.approx(found["allocated_s"] + found["held_s"] + found["free_s"])
    assert whole["capacity_s"] >= own.capacity_s > 0, "asked later, of devices that are still there"
    by_hour = asked("hour").json()["results"]
    assert sum(one["allocated_s"] for one in by_hour) == pytest.approx(whole["allocated_s"])
    for wrong in (asked("tenant", 0), asked("project"), asked("hour", 93 * 24)):
        assert (wrong.status_code, wrong.json()["code"]) == (400, "invalid")


def test_a_node_that_registers_again_keeps_cordons_and_reports_missing_devices(world: World) -> None:
    Device.objects.filter(index=0).update(state="cordoned")
    left = [Found("cpu-0", "cpu", "cpu", "CPU 0 of host h", 0, 2**30)]
    nodes.register(name="n1", hostname="h", boot=uuid.uuid4(), found=left, missing_layers=["a layer"])
    assert dict(Device.objects.values_list("uuid", "state")) == {"cpu-0": "cordoned", "cpu-1": "gone"}
    (row,) = queries.devices()
    assert row.missing_layers == ("a layer",)
    assert nodes.alive(nodes.Registered(Node.objects.get().id, "n1", world.boot)) is False, "another worker took over"


def test_usage_of_other_tenants_is_not_shown(world: World, used: Claim) -> None:
    other = factories.make_tenant()
    with tenant_scope(other.id):
        end = now() + timedelta(minutes=1)
        rows = device_hours.utilisation(end - timedelta(hours=2), end)
    assert sum(row.allocated_s for row in rows) == 0
