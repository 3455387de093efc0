"""One job through many kills, a wrong clock, and two controllers (J3, J4, J6, B17). Storms of faults are in `test_chaos`."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import pytest

from compute.models import DeviceHold
from tenants.clock import now
from tenants.events.outbox import OutboxMessage
from tenants.isolation.scoping import tenant_scope
from tests.fakes.runner.kind import digest_of
from tests.faults.harness import WorkCluster, assert_billed_as_seen, assert_no_overlap, signal_group, work_cluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def home(process_environment: Callable[..., dict[str, str]], tmp_path: Path, own_valkey: str) -> Iterator[WorkCluster]:
    with work_cluster(process_environment, tmp_path, own_valkey) as opened:
        opened.controller()
        yield opened


def training(home: WorkCluster, job_id: UUID) -> int | None:
    """Return the token of the attempt whose child runs now."""
    runs = home.job(job_id).attempts
    return next((run.token for run in runs if run.state == "running" and run.started_at), None)


@pytest.mark.nightly
def test_a_job_survives_ten_kills_at_random_moments(home: WorkCluster) -> None:
    chance, kills = random.Random(2), 10
    steps, killed = 30 + 30 * kills, 0
    worker = home.node()
    job_id = home.submit(steps=steps, step_s=0.05, every=4)
    for number in range(2 * kills):
        if killed == kills:
            break
        wait_until(lambda: home.job(job_id).final or training(home, job_id) is not None, "a child")
        time.sleep(chance.uniform(0.3, 1.2))  # to kill it at any moment of its work
        token = training(home, job_id)
        if token is None:
            continue
        killed += 1
        if number % 2:
            signal_group(home.child_of(job_id))
        else:
            signal_group(worker.pid)
            worker.wait()
            worker = home.node()
            # Lease and sweep take three seconds here; a loaded machine is slow to start processes.
            wait_until(lambda: home.job(job_id).final or (training(home, job_id) or 0) > token, "recovery (J4)")  # noqa: B023
    job = home.wait(job_id, seconds=540)
    assert killed == kills, f"the job ended after {killed} of {kills} kills"
    assert (job.state, job.result["digest"]) == ("succeeded", digest_of(steps)), job
    assert job.result["resumed_at"] > 0
    assert [run.cause for run in job.attempts].count("succeeded") == 1
    assert_no_overlap(home.intervals(job_id))
    assert_billed_as_seen(home, job_id)
    with tenant_scope(home.tenant.id):
        assert OutboxMessage.objects.filter(topic="compute.JobEnded").count() == 1


def test_b17_a_wrong_clock_of_the_host_bills_not_a_second_more_or_less(home: WorkCluster, tmp_path: Path) -> None:
    day, clock_file = 86_400, tmp_path / "clock"
    clock_file.write_text(f"{-day}")
    home.node(EXCHEQUER_CPU_DEVICES=1, EXCHEQUER_LEASE_S=30, CLOCK_FILE=clock_file)
    with tenant_scope(home.tenant.id):
        began = now()
    job_id = home.submit(steps=60, step_s=0.1)
    for step, shift in ((10, day), (25, -2 * day)):
        home.wait_step(job_id, step)
        clock_file.write_text(f"{shift}")
    job = home.wait(job_id)
    with tenant_scope(home.tenant.id):
        ended = now()
    assert (job.state, len(job.attempts), job.result["digest"]) == ("succeeded", 1, digest_of(60))
    assert home.log("n1").count("the clock shows") == 3
    spans = home.intervals(job_id)
    assert began <= spans[0][0] and spans[-1][1] <= ended
    assert_no_overlap(spans)
    assert_billed_as_seen(home, job_id)


def test_of_two_controllers_one_leads_and_the_other_takes_over(home: WorkCluster) -> None:
    wait_until(lambda: "controller.leads" in home.log("controller"), "the first to lead")
    home.controller()
    home.node()
    assert home.wait(home.submit(steps=3)).state == "succeeded"
    assert home.log("controller").count("controller.leads") == 1
    leader = home.processes[0]
    leader.kill()
    leader.wait()
    wait_until(lambda: home.log("controller").count("controller.leads") == 2, "the second to lead")
    assert home.wait(home.submit(steps=3)).state == "succeeded"
    assert not DeviceHold.objects.exists()
