"""A job on two nodes: real workers, each with the login of its node; a rank on each, an encrypted connection between."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from billing.queries import billed_attempts
from compute.models import Attempt, DeviceHold, DeviceHour
from tenants.isolation.scoping import tenant_scope
from tests.fakes.runner.kind import digest_of
from tests.faults.harness import processes, work_cluster
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.nightly]


def rank_on(node: Path) -> int:
    """Return the process of the rank that runs in this node's folder; 0 without one."""
    for pid in processes():
        try:
            place, words = os.readlink(f"/proc/{pid}/cwd"), Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        except OSError:
            continue
        if f"{node}/" in place and "--attempt" in words:  # a sandbox shows it below another root
            return pid
    return 0


def test_a_job_on_two_nodes_outlives_a_killed_rank_and_pays_once_for_each(
    process_environment: Callable[..., dict[str, str]], tmp_path: Path, own_valkey: str
) -> None:
    with work_cluster(process_environment, tmp_path, own_valkey, EXCHEQUER_CPU_DEVICES=1) as home:
        home.node("n1")
        home.node("n2")
        home.controller()
        job_id = home.submit(steps=40, step_s=0.1, every=1, devices=2, one_node=False)
        home.wait_step(job_id, 5)
        with tenant_scope(home.tenant.id):
            lead = Attempt.objects.select_related("node").get(job_id=job_id).node.name
        follower = tmp_path / ("n2" if lead == "n1" else "n1")
        os.killpg(wait_until(lambda: rank_on(follower), "a rank on the other node"), signal.SIGKILL)
        job = home.wait(job_id)
        assert (job.state, job.result["digest"], len(job.attempts)) == ("succeeded", digest_of(40), 1)
        with tenant_scope(home.tenant.id):
            (attempt,) = Attempt.objects.filter(job_id=job_id)
            assert billed_attempts([attempt.id])[attempt.id].measured == 2 * attempt.measured_s > 8
            assert {hour.rank for hour in DeviceHour.objects.filter(attempt_id=attempt.id)} == {0, 1}
        wait_until(lambda: not DeviceHold.objects.exists(), "devices to be free")
        wait_until(lambda: not rank_on(tmp_path), "all ranks to end")
        # A node that stops takes the whole job back to the queue, with a checkpoint.
        stopped = home.submit(steps=400, step_s=0.1, every=1000, devices=2, one_node=False)
        home.wait_step(stopped, 5)
        with tenant_scope(home.tenant.id):
            lead = Attempt.objects.select_related("node").get(job_id=stopped).node.name
        worker = home.processes[1 if lead == "n1" else 0]
        worker.send_signal(signal.SIGTERM)
        worker.wait(30)
        waiting = home.wait(stopped, "queued")
        assert (waiting.has_checkpoint, waiting.attempts[0].cause) == (True, "stopped")
