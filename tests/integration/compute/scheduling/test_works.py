"""What the controller reads of a long queue decides as the whole queue would."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

import pytest
from django.db import transaction

from compute.leases import leases
from compute.leases.messages import Heartbeat
from compute.models import Attempt, Job, Outcome
from compute.policy import Action, decide
from compute.scheduling.assign import ready_devices
from compute.scheduling.works import rooms_of, works_now
from tenants.clock import now
from tenants.isolation.scoping import all_tenants, tenant_scope
from tests.integration.compute.test_leases import World

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]
DEVICES = 2


@pytest.fixture
def sides(as_control: Control) -> tuple[World, World]:
    """Return two organisations, each with a right to one of two devices."""
    one, other = World(as_control), World(as_control)
    one.boot = other.boot
    return one, other


def decided(most: int) -> list[tuple[str, UUID]]:
    """Return what the policy decides of the jobs that are read for so many devices."""
    with transaction.atomic(), all_tenants("the policy weighs all who wait"):
        works = works_now({"cpu"}, most)
        actions: list[Action] = decide(works, ready_devices(), rooms_of(works, {}), now())
    return [(type(action).__name__, action.work.job_id) for action in actions]


def test_a_spot_job_that_gave_way_does_not_start_before_the_job_it_gave_way_to(sides: tuple[World, World]) -> None:
    """It waits again as the oldest of its queue, and before a job too wide for its organisation's part: both were passed."""
    one, other = sides
    spot = other.running(devices=2, tier="spot")
    other.submit(devices=2)
    one.submit(devices=2)
    started = other.submit()
    assert one.assign() == []
    assert leases.heartbeat(spot, Heartbeat(elapsed=1.0)).stop == Outcome.PREEMPTED
    leases.keep_checkpoint(spot, {"step": 1})
    leases.finish(spot, Outcome.PREEMPTED, Heartbeat(elapsed=1.5), message="gave way")
    (dispatch,) = one.assign()
    with tenant_scope(other.tenant.id):
        assert Attempt.objects.get(id=dispatch.attempt_id).job_id == started
        assert Job.objects.get(id=spot.job.id).state == "queued"


@pytest.mark.parametrize("seed", range(4))
def test_the_first_of_each_kind_decide_as_the_whole_queue_does(
    sides: tuple[World, World], as_control: Control, seed: int
) -> None:
    chance = random.Random(seed)
    shapes: list[dict[str, Any]] = [{"devices": 1}, {"devices": 2}, {"devices": 2, "one_node": False}]
    for _ in range(14):
        chance.choice(sides).submit(**chance.choice(shapes), tier=chance.choice(("on_demand", "spot")))
    with as_control():
        assert decided(DEVICES) == decided(10**6) != []
    chance.choice(sides).assign()
    for _ in range(6):
        chance.choice(sides).submit(**chance.choice(shapes), tier=chance.choice(("on_demand", "spot")))
    with as_control():
        assert decided(DEVICES) == decided(10**6)
