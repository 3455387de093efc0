"""A long queue of one tenant and a few jobs of many others, on two real slots (J9)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from django.db import transaction

from compute.models import Attempt, Job, JobState
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.faults.harness import WorkCluster, work_cluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)

NOISY, QUIET, ROUNDS = 5000, 20, 2
STEPS, STEP_S = 80, 0.05


@dataclass(frozen=True)
class Quiet:
    """A job of a quiet tenant."""

    tenant: UUID
    job: UUID

    @classmethod
    def launch(cls, home: WorkCluster, tenant: Tenant, actor: Actor, project: UUID) -> Quiet:
        home.tenant, home.actor, home.project = tenant, actor, project
        return cls(tenant.id, home.submit(steps=STEPS, step_s=STEP_S))

    def attempt(self) -> Attempt:
        with tenant_scope(self.tenant):
            rows = Attempt.objects.filter(job_id=self.job).select_related("job")
            return rows.first() or Attempt()

    def started(self) -> bool:
        return self.attempt().started_at is not None

    def ended(self) -> bool:
        return bool(self.attempt().outcome)

    def wait_in_lengths(self) -> float:
        """Return how long it waited for its child, in seconds that it then ran."""
        run = self.attempt()
        assert run.outcome == "succeeded" and run.started_at, run.outcome
        return (run.started_at - run.job.queued_at).total_seconds() / float(run.measured_s)


@pytest.mark.nightly
def test_a_tenant_with_five_thousand_queued_jobs_makes_no_other_wait_for_more_than_two_of_its_own(
    process_environment: Callable[..., dict[str, str]], tmp_path: Path, own_valkey: str
) -> None:
    with work_cluster(process_environment, tmp_path, own_valkey, EXCHEQUER_LEASE_S=30) as home:
        noisy = home.tenant
        home.node(EXCHEQUER_CPU_DEVICES=2)
        submit_many(home, NOISY)
        home.controller()
        wait_until(lambda: count(noisy.id, JobState.RUNNING) == 2, "the noisy tenant on both slots")
        tenants = []
        for _ in range(QUIET):
            home.use_new_tenant()
            tenants.append((home.tenant, home.actor, home.project))
        waited: list[Quiet] = []
        for one in (
            tenants * ROUNDS
        ):  # the next one comes as this one starts, so that together they want one slot of the two
            waited.append(Quiet.launch(home, *one))
            wait_until(waited[-1].started, "a device for a quiet tenant")
        for one in waited:
            wait_until(one.ended, "the end of a quiet tenant's job")
        left = count(noisy.id, JobState.QUEUED)
        waits = sorted(one.wait_in_lengths() for one in waited)
    print(f"waits in lengths of the job: {[f'{one:.2f}' for one in waits]}; {left} of the other's queue left")  # noqa: T201
    assert left > NOISY * 9 // 10, "its queue was long all the time"
    assert waits[len(waits) * 95 // 100 - 1] <= 2, waits


def submit_many(home: WorkCluster, many: int) -> None:
    """Queue so many jobs of the harness's tenant, a thousand in a transaction."""
    for _ in range(many // 1000):
        with tenant_scope(home.tenant.id), transaction.atomic():
            for _ in range(1000):
                home.submit(steps=STEPS, step_s=STEP_S)


def count(tenant_id: UUID, state: JobState) -> int:
    with tenant_scope(tenant_id):
        return Job.objects.filter(state=state).count()
