"""The cap of a job set, whatever happens to its jobs in whatever order."""

from __future__ import annotations

import random
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from billing.budgets.counters import BudgetExceeded
from billing.metering.metering import Interval
from billing.models import Hold
from compute.arrays import arrays
from compute.jobs import jobs
from compute.jobs.job_request import Submission
from compute.jobs.repricing import follow_price, price_of
from compute.leases import leases
from compute.leases.charging import charge
from compute.leases.messages import Heartbeat
from compute.models import Job, Outcome
from tenants.clock import now
from tenants.errors import Conflict
from tenants.isolation.scoping import tenant_scope
from tests.integration.compute.test_leases import Control, World

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("seed", range(3))
def test_no_order_of_events_spends_beyond_the_cap(as_control: Control, seed: int) -> None:
    world, rng = World(as_control), random.Random(seed)
    asked = Submission(
        name="sweep", kind="tick", project_id=world.project, spec={"store": "x"}, device_class="cpu", max_seconds=100
    )
    refused = happened = 0
    with tenant_scope(world.tenant.id):
        worst = price_of(Job(kind="tick", device_class="cpu", tier="on_demand")).unit_amount * 110
        cap = worst * 3
        made = arrays.launch(actor=world.actor, asked=asked, vary={"steps": [3, 4]}, cap=cap)
        for step in range(40):
            job = rng.choice(list(Job.objects.filter(set_id=made.id)))
            acts: list[Any] = [
                lambda job: jobs.cancel(actor=world.actor, job_id=job.id),
                lambda job: jobs.pause(actor=world.actor, job_id=job.id),
                lambda job: jobs.resume(actor=world.actor, job_id=job.id),
                lambda job: arrays.retry_failed(actor=world.actor, set_id=made.id),
                lambda job: _dearer(job, rng),
                lambda job, step=step: _use(job, step, rng.randint(1, 60)),
            ]
            try:
                with suppress(Conflict):
                    happened += rng.choice(acts)(job) is not False
            except BudgetExceeded:
                refused += 1
            of_set = Job.objects.filter(set_id=made.id)
            left = sum(hold.amount - hold.settled for hold in Hold.objects.filter(state="open"))
            assert sum(one.spent for one in of_set) + left <= cap, step
    assert happened
    assert refused or of_set.exists()


def _dearer(job: Job, rng: random.Random) -> bool:
    """Quote a job again that was launched at a lower price."""
    if job.hold_id is None:
        return False
    price = price_of(job)
    job.unit_amount = price.unit_amount / rng.randint(2, 4)
    job.max_seconds *= rng.randint(1, 3)
    return follow_price(job, price)


def _use(job: Job, step: int, seconds: int) -> bool:
    if job.hold_id is None or job.state != "queued":
        return False
    start = now() - timedelta(hours=1) + timedelta(seconds=60 * step)
    used = Interval(
        key=f"attempt:{job.id}:{step}", meter="device_seconds", resource=job.subject, project_id=job.project_id,
        start=start, end=start + timedelta(seconds=seconds), dims={"device_class": "cpu", "tier": "on_demand"},
        job_id=job.id, source="compute",
    )  # fmt: skip
    charge(job, [used])
    Job.objects.filter(id=job.id).update(measured_s=job.measured_s + seconds)
    return True


@pytest.mark.parametrize(("spare", "named"), [(Decimal(2), True), (Decimal(20), False)])
def test_a_job_that_the_cap_of_its_set_pauses_says_so(as_control: Control, spare: Decimal, named: bool) -> None:
    world = World(as_control)
    asked = Submission(
        name="sweep", kind="tick", project_id=world.project, spec={"store": "x"}, device_class="cpu", max_seconds=100
    )
    with tenant_scope(world.tenant.id):
        worst = price_of(Job(kind="tick", device_class="cpu", tier="on_demand")).unit_amount * 110
        arrays.launch(actor=world.actor, asked=asked, vary={"steps": [3]}, cap=worst * spare)
    mine = world.claim(world.assign()[0])
    assert mine is not None
    with tenant_scope(world.tenant.id):
        Job.objects.filter(id=mine.job.id).update(max_seconds=1000)  # its rest now takes ten times as much
    leases.finish(mine, Outcome.BUDGET, Heartbeat(), message="The budget is used up.")
    with tenant_scope(world.tenant.id):
        job = Job.objects.get(id=mine.job.id)
    assert (job.state, job.cause) == ("paused", "budget")
    assert job.message == ("The cap of the job set 'sweep' is used up." if named else "The budget is used up.")
