"""Quotas of jobs: at once they make it wait, in a month they refuse it; what is not used is given back, once."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pytest
from django.db import connection

from compute import queries
from compute.jobs import jobs
from compute.leases import leases
from compute.leases.messages import Heartbeat
from compute.models import Attempt, Job, Outcome
from compute.policy import Action
from compute.scheduling import assign, reaper
from tenants import operations, quotas
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope
from tenants.models import QuotaReservation
from tenants.quotas import QuotaExceeded, Scope
from tests.integration.compute.test_leases import Control, World, expire
from tests.support import factories

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
CPU, HOURS = "devices:cpu", "device_hours:cpu"


@pytest.fixture
def world(as_control: Control) -> World:
    return World(as_control)


def used(world: World, resource: str, scope: Scope = quotas.ORGANISATION) -> int:
    with tenant_scope(world.tenant.id):
        found = [use.in_use for use in quotas.everywhere() if (use.resource, use.scope) == (resource, scope)]
    return found[0] if found else 0


def waits_for(world: World, job_id: UUID) -> dict[str, Any]:
    with tenant_scope(world.tenant.id):
        found = queries.job_detail(job_id).waiting_for
    assert found is not None
    return found


def test_a_job_waits_for_a_limit_at_once_and_starts_when_one_is_released(world: World) -> None:
    quotas.set_limit(actor=world.actor, resource=CPU, limit=1)
    mine, waiting = world.running(), world.submit()
    assert world.assign() == []
    waits = waits_for(world, waiting)
    assert (waits["kind"], waits["limit"], waits["in_use"]) == ("quota", 1, 1)
    assert waits["reason"].startswith("Quota: 1 of 1 CPU devices in use in the organisation.")
    leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=0.1), complete=lambda job: {})
    assert len(world.assign()) == 1
    assert used(world, CPU) == 1


def test_a_limit_of_a_project_binds_its_jobs_alone(world: World) -> None:
    other = operations.create_project(actor=world.actor, slug="speech", name="Speech")
    quotas.set_limit(actor=world.actor, resource=CPU, limit=0, scope=Scope(project_id=world.project))
    waiting = world.submit()
    world.project, first = other.id, world.project
    started = world.submit()
    assert [one.attempt_id for one in world.assign()] != []
    with tenant_scope(world.tenant.id):
        assert Attempt.objects.get().job_id == started
    assert "in project" in waits_for(world, waiting)["reason"]
    assert (used(world, CPU), used(world, CPU, Scope(project_id=first))) == (1, 0)
    assert used(world, CPU, Scope(project_id=other.id)) == 1


def test_a_limit_of_a_person_counts_what_their_keys_launch(world: World) -> None:
    ann = factories.actor_for(world.tenant, "engineer")
    assert ann.id is not None
    quotas.set_limit(actor=world.actor, resource=CPU, limit=1, scope=Scope(person=ann.id))
    owner, world.actor = world.actor, ann
    world.submit()
    waiting = world.submit()
    world.actor = owner
    world.submit()
    assert len(world.assign()) == 2
    assert f"by {ann.label}" in waits_for(world, waiting)["reason"]
    assert used(world, CPU, Scope(person=ann.id)) == 1


@pytest.mark.parametrize("ended", ["finished", "crashed", "cancelled", "fenced", "paused", "unclaimed"])
def test_a_device_is_released_once_however_its_attempt_ends(
    world: World, superuser: psycopg.Connection, ended: str
) -> None:
    world.submit()
    (dispatch,) = world.assign()
    assert used(world, CPU) == 1
    with tenant_scope(world.tenant.id):
        job_id = Job.objects.get().id
    mine = None if ended == "unclaimed" else world.claim(dispatch)
    if mine is None:
        jobs.cancel(actor=world.actor, job_id=job_id)
    elif ended in ("cancelled", "paused"):
        act = jobs.cancel if ended == "cancelled" else jobs.pause
        act(actor=world.actor, job_id=job_id)
        assert used(world, CPU) == 1, "until the child has ended"
        leases.finish(mine, Outcome.CANCELLED if ended == "cancelled" else Outcome.PAUSED, Heartbeat(elapsed=0.1))
    elif ended == "fenced":
        expire(superuser)
        with world.control():
            assert reaper.reap() == 1
            assert reaper.reap() == 0
    else:
        outcome = Outcome.SUCCEEDED if ended == "finished" else Outcome.CRASHED
        leases.finish(mine, outcome, Heartbeat(elapsed=0.1), complete=lambda job: {})
    jobs_end = jobs.cancel if ended in ("crashed", "fenced", "paused") else None
    assert used(world, CPU) == 0
    if jobs_end is not None:
        jobs_end(actor=world.actor, job_id=job_id)
    assert used(world, CPU) == 0
    with tenant_scope(world.tenant.id):
        assert not QuotaReservation.objects.exists()


def test_two_controllers_never_pass_a_limit_together(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    quotas.set_limit(actor=world.actor, resource=CPU, limit=1, scope=Scope(project_id=world.project))
    world.submit()
    world.submit()
    barrier, choose = threading.Barrier(2), assign.decide
    first_of: list[int] = []

    def choose_together(works: Any, devices: Any, *rest: Any) -> list[Action]:
        barrier.wait(60)
        mine = len(first_of)
        first_of.append(mine)
        # Each takes another job and another device, from the same figures.
        return choose(works[mine : mine + 1], devices[mine : mine + 1], *rest)

    monkeypatch.setattr(assign, "decide", choose_together)
    given: list[int] = []

    def control() -> None:
        try:
            with world.control():
                given.append(len(assign.assign_all()))
        finally:
            connection.close()

    threads = [threading.Thread(target=control) for _ in range(2)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert sorted(given) == [0, 1]
    assert used(world, CPU) == used(world, CPU, Scope(project_id=world.project)) == 1
    with tenant_scope(world.tenant.id):
        assert Attempt.objects.count() == 1


@pytest.mark.parametrize("scope", ["tenant", "project", "person"])
def test_of_launches_that_race_for_the_last_hour_of_a_month_one_wins(world: World, scope: str) -> None:
    whose = {
        "tenant": quotas.ORGANISATION,
        "project": Scope(project_id=world.project),
        "person": Scope(person=world.actor.id),
    }[scope]
    quotas.set_limit(actor=world.actor, resource=HOURS, limit=1, scope=whose)
    barrier, answers = threading.Barrier(8), []

    def launch() -> None:
        try:
            barrier.wait(60)
            answers.append(str(world.submit(max_seconds=3000)))
        except QuotaExceeded as refused:
            answers.append(refused.extra["scope"].partition(":")[0])
        finally:
            connection.close()

    threads = [threading.Thread(target=launch) for _ in range(8)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert answers.count(scope) == 7
    with tenant_scope(world.tenant.id):
        assert Job.objects.count() == 1
    assert 3000 < used(world, HOURS, whose) <= 3600


def test_what_a_job_does_not_use_of_its_hours_is_given_back(world: World) -> None:
    quotas.set_limit(actor=world.actor, resource=HOURS, limit=1)
    mine = world.running(max_seconds=3500)
    with pytest.raises(QuotaExceeded, match=r"CPU device time: 0\.97 of 1 hours in use in the organisation"):
        world.submit(max_seconds=3500)
    leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=0.1), complete=lambda job: {})
    assert used(world, HOURS) == 1, "the whole second that it ran"
    paused = world.submit(max_seconds=3500)
    jobs.pause(actor=world.actor, job_id=paused)
    assert used(world, HOURS) == 1
    other = world.submit(max_seconds=3500)
    with pytest.raises(QuotaExceeded):
        jobs.resume(actor=world.actor, job_id=paused)
    jobs.cancel(actor=world.actor, job_id=other)
    assert jobs.resume(actor=world.actor, job_id=paused).state == "queued"


def test_a_new_month_starts_from_nothing_and_an_old_job_gives_nothing_back_to_it(
    world: World, demo_clock: DemoClock
) -> None:
    quotas.set_limit(actor=world.actor, resource=HOURS, limit=1)
    old = world.submit(max_seconds=3500)
    demo_clock.advance(timedelta(days=32))
    assert used(world, HOURS) == 0
    world.submit(max_seconds=1000)
    before = used(world, HOURS)
    assert 1000 < before < 1100
    jobs.cancel(actor=world.actor, job_id=old)
    assert used(world, HOURS) == before


def test_a_ceiling_binds_whatever_limit_the_organisation_sets(world: World) -> None:
    quotas.set_limit(actor=world.actor, resource=CPU, limit=2)
    operator = Actor.system(world.tenant.id, "operator")
    with world.control():
        quotas.set_ceiling(actor=operator, resource=CPU, limit=1, reason="the pool is small")
    world.submit()
    waiting = world.submit()
    assert len(world.assign()) == 1
    assert "ask the operators of this installation to raise the ceiling" in waits_for(world, waiting)["reason"]
