"""What a waiting job says: position, reason, expected start; and how far that was off."""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from compute import queries
from compute.jobs import jobs
from compute.leases import leases
from compute.leases.messages import Heartbeat
from compute.models import Device, Job, Outcome
from compute.policy import Scope
from compute.scheduling import history, waits
from tenants import quotas
from tenants.access.actor import Actor
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope
from tests.integration.compute.test_leases import World

if TYPE_CHECKING:
    from tests.conftest import DemoClock

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def world(as_control: Control) -> World:
    return World(as_control)


def explain(world: World) -> int:
    with world.control():
        return waits.explain_all({})


def said(world: World, job_id: UUID) -> dict[str, Any]:
    with tenant_scope(world.tenant.id):
        found = queries.job_detail(job_id).waiting_for
    assert found is not None
    return found


def typically(world: World, job_id: UUID, seconds: int) -> None:
    with tenant_scope(world.tenant.id):
        Job.objects.filter(id=job_id).update(typical_s=seconds)


def test_a_waiting_job_says_its_place_its_reason_and_when_it_is_expected_to_start(
    world: World, demo_clock: DemoClock
) -> None:
    held, other = world.running(), world.running()
    typically(world, held.job.id, 90)
    typically(world, other.job.id, 600)
    first, second = world.submit(), world.submit()
    typically(world, first, 60)
    assert explain(world) == 2
    assert explain(world) == 0, "what did not change is not written"
    waiting = said(world, second)
    assert (waiting["kind"], waiting["why"], waiting["position"], waiting["own_jobs_ahead"]) == (
        "device",
        "guaranteed",
        2,
        1,
    )
    assert "gives way to nobody" in waiting["reason"]
    assert waiting["expected_start_error"] is None
    begins = said(world, first)["expected_start_at"]
    assert timedelta(seconds=80) < begins - now() <= timedelta(seconds=90)
    assert timedelta(seconds=55) < waiting["expected_start_at"] - begins <= timedelta(seconds=65)
    with tenant_scope(world.tenant.id):
        listed = {row.id: row for row in queries.job_list()}
    assert (listed[second].position, listed[second].wait_reason) == (2, "guaranteed")
    assert listed[held.job.id].wait_reason == ""

    demo_clock.advance(timedelta(seconds=20))  # within the lease of the node
    with tenant_scope(world.tenant.id):
        jobs.cancel(actor=world.actor, job_id=other.job.id)
    leases.finish(other, Outcome.CANCELLED, Heartbeat(elapsed=20.0))
    assert world.assign()
    with tenant_scope(world.tenant.id):
        error = Job.objects.get(id=first).start_error_s
    assert error is not None and -75 < error < -55, "it started a minute before it was expected to"
    assert said(world, second)["expected_start_error"]["jobs"] == 1


def test_a_job_behind_a_limit_at_once_names_it(world: World) -> None:
    quotas.set_limit(actor=world.actor, resource="devices:cpu", limit=1)
    world.running()
    waiting = world.submit()
    explain(world)
    found = said(world, waiting)
    assert (found["kind"], found["limit"], found["in_use"], found["position"]) == ("quota", 1, 1, 1)
    with tenant_scope(world.tenant.id):
        assert Job.objects.get(id=waiting).wait_reason == "limit"


def test_what_an_organisation_held_of_late_counts_against_it(as_control: Control, demo_clock: DemoClock) -> None:
    used, fresh, owner = World(as_control), World(as_control), World(as_control)
    used.boot = fresh.boot = owner.boot
    with as_control():
        operator = Actor.system(owner.tenant.id, "operator")
        quotas.set_ceiling(actor=operator, resource="devices:cpu", limit=None, guaranteed=2, reason="agreed")
    mine = used.running()
    demo_clock.advance(timedelta(seconds=20))
    leases.finish(mine, Outcome.SUCCEEDED, Heartbeat(elapsed=20.0), complete=lambda job: {})
    with as_control():
        past = history.past_shares()
    assert past[Scope(used.tenant.id, "cpu")] == pytest.approx(20 * math.log(2) / 86_400, rel=0.3)
    assert past[Scope(used.tenant.id, "cpu", project_id=used.project)] == past[Scope(used.tenant.id, "cpu")]
    Device.objects.filter(index=1).update(state="cordoned")
    used.submit()  # it waits longest, for the one device that both may borrow
    newer = fresh.submit()
    (first,) = fresh.assign()
    given = fresh.claim(first)
    assert given is not None and given.job.id == newer
