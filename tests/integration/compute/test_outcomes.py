"""Ends of attempts against the real database: whose fault they were, what counts and what is charged."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psycopg
import pytest
from django.conf import settings
from django.db import connection
from django.test import override_settings

from compute import limits, pg_session, queries
from compute.agent import heartbeat
from compute.agent.supervisor import AttemptSupervisor
from compute.devices.base import Reading, Sampler
from compute.jobs import jobs
from compute.kinds import BadOutput
from compute.leases import leases
from compute.leases.messages import Claim, Heartbeat
from compute.models import Attempt, Device, Job, Outcome
from compute.sandbox.process import Child
from compute.sandbox.protocol import Metric
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tests.integration.compute.test_leases import World
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def world(as_control: Callable[[], AbstractContextManager[None]]) -> World:
    return World(as_control)


def stored(world: World, mine: Claim) -> tuple[Job, Attempt]:
    with tenant_scope(world.tenant.id):
        return Job.objects.get(id=mine.job.id), Attempt.objects.get(id=mine.attempt_id)


def next_run(world: World) -> Claim:
    with tenant_scope(world.tenant.id):
        Job.objects.update(not_before=None)
    mine = world.claim(world.assign()[0])
    assert mine is not None
    return mine


def test_a_job_that_crashes_under_each_pause_is_poison_in_the_end(world: World) -> None:
    mine = world.running()
    for crashes in (1, 2, 3):
        jobs.pause(actor=world.actor, job_id=mine.job.id)
        leases.finish(mine, Outcome.CRASHED, Heartbeat(elapsed=0.1), message="It broke.")
        job, _ = stored(world, mine)
        assert job.own_crashes == crashes
        if crashes < 3:
            assert (job.state, job.cause) == ("paused", "user")
            jobs.resume(actor=world.actor, job_id=mine.job.id)
            mine = next_run(world)
    assert (job.state, job.cause, job.message, job.hold_id) == ("failed", "poison", "It broke.", None)


def test_a_crash_of_a_cancelled_job_changes_nothing_about_it(world: World) -> None:
    mine = world.running()
    jobs.cancel(actor=world.actor, job_id=mine.job.id)
    leases.finish(mine, Outcome.CRASHED, Heartbeat(elapsed=0.1))
    job, _ = stored(world, mine)
    assert (job.state, job.own_crashes) == ("cancelled", 0)


BAD = [
    Heartbeat(metrics=[Metric(1, {"loss": float("nan")})]),
    Heartbeat(metrics=[Metric(2**70, {"loss": 1.0})]),
    Heartbeat(progress={"phase": "a\0b"}),
    Heartbeat(progress={"phase": "half \ud800"}),
    Heartbeat(logs=[(1, "a\0b")]),
    Heartbeat(layers=["a\0b"]),
]


@pytest.mark.parametrize("number", range(len(BAD)))
def test_a_heartbeat_with_an_unstorable_value_is_refused_and_the_next_passes(world: World, number: int) -> None:
    mine = world.running()
    heart = heartbeat.HeartbeatSender(mine)
    heart.beat = Heartbeat(elapsed=0.1, **{k: v for k, v in vars(BAD[number]).items() if v and k != "elapsed"})
    with pytest.raises(BadOutput, match="cannot be stored"):
        heart.renew()
    assert heart.renew() is not None, "what was measured is still sent"
    _, attempt = stored(world, mine)
    assert attempt.seq == 1


def test_a_heartbeat_that_idled_in_its_transaction_is_sent_again_within_the_lease(
    world: World, superuser: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine, once = world.running(), iter([True])
    heart = heartbeat.HeartbeatSender(mine)
    heart.beat = Heartbeat(elapsed=0.1)

    def stopped(*_: object) -> None:
        if next(once, False):  # as a process that is stopped here: the server ends its session meanwhile
            with connection.cursor() as cursor:
                cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 20")
                pid = pg_session.session().info.backend_pid
            there = "SELECT FROM pg_stat_activity WHERE pid = %s"
            wait_until(lambda: superuser.execute(there, [pid]).fetchone() is None, "the end of the session")

    monkeypatch.setattr(leases, "_startup", lambda *_: stopped() or {})
    assert heart.renew() is None
    assert heart.renew() is not None
    assert stored(world, mine)[1].seq == 1


def test_the_last_report_that_cannot_be_stored_still_ends_the_attempt_as_a_crash(world: World) -> None:
    mine = world.running()
    heart = heartbeat.HeartbeatSender(mine)
    heart.beat = Heartbeat(elapsed=0.1, logs=[(1, "a\0b")])
    heart.finish(Outcome.KILLED, "a\0b", None, None)
    job, attempt = stored(world, mine)
    assert (attempt.outcome, job.own_crashes, job.infrastructure_kills) == ("crashed", 1, 0)


def test_a_supervisor_ends_a_child_whose_report_cannot_be_stored(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = world.running()
    exited = threading.Event()
    child = SimpleNamespace(
        said=[], lines=[], exited=exited, changed=threading.Event(), group=0, began=0.0,
        startup_s=None, elapsed=lambda: 0.1, exit_code=-9, kill=exited.set, members=(),
    )  # fmt: skip
    sampler = SimpleNamespace(read=lambda *_: Reading(busy=0.0, memory_bytes=0))
    watched = AttemptSupervisor(mine, cast(Sampler, sampler), tmp_path)

    def start(_: object) -> Child:
        watched._observed.progress = {"phase": "a\0b"}
        watched.wake()
        return cast(Child, child)

    monkeypatch.setattr(watched, "_start", start)
    watched.run()
    job, attempt = stored(world, mine)
    assert exited.is_set()
    assert (attempt.outcome, attempt.message, job.own_crashes) == (
        "crashed",
        "It reported values that cannot be stored.",
        1,
    )


def supervised(world: World, home: Path, **spec: object) -> tuple[Job, Attempt]:
    """Run a real child under the real supervisor to its end."""
    mine = world.running(spec=spec)
    sampler = SimpleNamespace(read=lambda *_: Reading(busy=0.0, memory_bytes=0))
    AttemptSupervisor(mine, cast(Sampler, sampler), home).run()
    return stored(world, mine)


@pytest.mark.parametrize("code", [1, 69, 71, 75, 124, 137, 143, 255])
def test_any_exit_code_that_a_child_chooses_is_its_own_crash(world: World, tmp_path: Path, code: int) -> None:
    job, attempt = supervised(world, tmp_path, exit=code)
    assert (attempt.outcome, attempt.exit_code) == ("crashed", code)
    assert (job.own_crashes, job.infrastructure_kills) == (1, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_child_that_kills_itself_is_not_taken_for_one_that_the_host_killed(
    world: World, tmp_path: Path, number: int
) -> None:
    job, attempt = supervised(world, tmp_path, exit=-number)
    assert (attempt.outcome, job.own_crashes, job.infrastructure_kills) == ("crashed", 1, 0)


def test_a_child_that_fills_its_folder_is_killed_for_it_and_removed(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(settings, "EXCHEQUER", settings.EXCHEQUER.model_copy(update={"heartbeat_s": 0.1}))
    monkeypatch.setattr(limits, "STOP_GRACE_S", 0.5)
    job, attempt = supervised(world, tmp_path, dig=1_500, steps=10_000)
    assert (attempt.outcome, attempt.exit_code) == ("crashed", -signal.SIGKILL)
    assert "folders more than 16 deep" in attempt.message and job.own_crashes == 1
    assert list(tmp_path.iterdir()) == []


def test_an_attempt_that_met_a_full_disk_costs_nothing_and_is_tried_again(world: World) -> None:
    mine = world.running()
    leases.heartbeat(mine, Heartbeat(elapsed=0.2))
    leases.finish(mine, Outcome.DISK_FULL, Heartbeat(elapsed=0.3), message="The host's disk was full.")
    job, attempt = stored(world, mine)
    assert (job.state, job.own_crashes, job.infrastructure_kills) == ("queued", 0, 1)
    assert attempt.measured_s > 0
    with tenant_scope(world.tenant.id):
        (shown,) = queries.attempts(mine.job.id)
    assert (shown.cost.amount, shown.billed_seconds) == (0, 0)
    assert not Device.objects.filter(state="cordoned").exists()


def test_a_cancelled_job_is_settled_only_when_its_attempt_has_ended(world: World) -> None:
    mine = world.running()
    jobs.cancel(actor=world.actor, job_id=mine.job.id)
    with tenant_scope(world.tenant.id):
        shown = queries.job_detail(mine.job.id)
        assert shown.final and not shown.settled
    leases.finish(mine, Outcome.CANCELLED, Heartbeat(elapsed=0.1))
    with tenant_scope(world.tenant.id):
        assert queries.job_detail(mine.job.id).settled


@pytest.mark.parametrize("paused", [False, True])
def test_what_the_platform_waives_is_left_of_the_cost_limit(world: World, paused: bool) -> None:
    mine = world.running(max_cost=Decimal("0.006"), max_seconds=1000)
    with tenant_scope(world.tenant.id):
        before, _ = leases.seconds_left(Job.objects.get())
        Attempt.objects.update(claimed_at=now() - timedelta(seconds=13))
    if paused:
        jobs.pause(actor=world.actor, job_id=mine.job.id)
    leases.finish(
        mine,
        Outcome.DISK_FULL,
        Heartbeat(elapsed=12.0, began=time.monotonic() - 12),
        message="The host's disk was full.",
    )
    job, attempt = stored(world, mine)
    assert (job.spent, job.measured_s) == (0, attempt.measured_s)
    assert 11.9 < job.measured_s <= 12
    with tenant_scope(world.tenant.id):
        assert leases.seconds_left(job) == (before, Outcome.COST_LIMIT)
    if paused:
        jobs.resume(actor=world.actor, job_id=mine.job.id)
    second = next_run(world)
    assert leases.heartbeat(second, Heartbeat()).stop is None


@override_settings(EXCHEQUER=settings.EXCHEQUER.model_copy(update={"heartbeat_s": 1}))
def test_a_node_that_learns_late_of_a_cancel_bills_one_heartbeat_at_most(world: World) -> None:
    mine, began = world.running(), time.monotonic()
    jobs.cancel(actor=world.actor, job_id=mine.job.id)
    time.sleep(settings.EXCHEQUER.heartbeat_s + 0.5)
    elapsed = time.monotonic() - began
    assert leases.heartbeat(mine, Heartbeat(elapsed=elapsed, began=began)).stop == Outcome.CANCELLED
    leases.finish(mine, Outcome.CANCELLED, Heartbeat(elapsed=elapsed + 0.1, began=began))
    job, attempt = stored(world, mine)
    assert job.ended_at is not None and attempt.measured_until is not None
    assert attempt.measured_until == job.ended_at + timedelta(seconds=settings.EXCHEQUER.heartbeat_s)
