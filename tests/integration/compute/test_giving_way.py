"""Borrowed work gives way: it is asked to stop, ends with its checkpoint, waits, and its device goes to whom it belongs."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from compute import queries
from compute.jobs import job_quotas
from compute.leases import leases
from compute.leases.messages import Claim, Heartbeat
from compute.models import Attempt, Job, Outcome
from tenants import quotas
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope
from tenants.models import AuditEntry
from tests.integration.compute.test_leases import World

pytestmark = pytest.mark.django_db(transaction=True)
Control = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def sides(as_control: Control) -> tuple[World, World]:
    """Return a tenant that borrows, and one to which both devices are guaranteed."""
    borrower, owner = World(as_control), World(as_control)
    owner.boot = borrower.boot = owner.boot
    with as_control():
        operator = Actor.system(owner.tenant.id, "operator")
        quotas.set_ceiling(
            actor=operator, resource=job_quotas.devices("cpu"), limit=None, guaranteed=2, reason="agreed"
        )
    return borrower, owner


def test_what_was_borrowed_is_reclaimed_with_a_checkpoint_and_goes_on_later(sides: tuple[World, World]) -> None:
    borrower, owner = sides
    mine = borrower.running()
    with tenant_scope(borrower.tenant.id):
        assert Attempt.objects.get().borrowed
    assert leases.heartbeat(mine, Heartbeat(elapsed=1.0)).stop is None
    asked = [owner.submit() for _ in range(2)]
    first = owner.assign()
    assert len(first) == 1, "one device is free, the other is asked for"
    assert owner.assign() == []
    assert leases.heartbeat(mine, Heartbeat(elapsed=2.0)).stop == Outcome.RECLAIMED
    leases.keep_checkpoint(mine, {"step": 2})
    leases.finish(mine, Outcome.RECLAIMED, Heartbeat(elapsed=3.0), message="given back")
    with tenant_scope(borrower.tenant.id):
        job = Job.objects.get()
        assert (job.state, job.cause, job.checkpoint, job.own_crashes, job.infrastructure_kills) == (
            "queued", "", {"step": 2}, 0, 0,
        )  # fmt: skip
        (run,) = queries.job_detail(job.id).attempts
        assert run.cause == "reclaimed"
        assert run.billed_seconds > 0
        assert AuditEntry.objects.filter(action="compute.attempt.yields").count() == 1
    (second,) = owner.assign()
    given = [owner.claim(one) for one in (*first, second)]
    assert {one.job.id for one in given if one} == set(asked)
    for one in given:
        assert isinstance(one, Claim)
        leases.finish(one, Outcome.SUCCEEDED, Heartbeat(elapsed=1.0), complete=lambda job: {})
    (again,) = borrower.assign()
    resumed = borrower.claim(again)
    assert resumed is not None
    assert (resumed.token, resumed.job.checkpoint) == (2, {"step": 2})


def test_what_runs_within_a_tenants_part_is_asked_for_by_nobody(sides: tuple[World, World]) -> None:
    borrower, owner = sides
    runs = [owner.running(), owner.running()]
    borrower.submit()
    assert borrower.assign() == []
    assert [leases.heartbeat(one, Heartbeat(elapsed=1.0)).stop for one in runs] == [None, None]
