"""A live node that receives no wake-ups: its job goes to another run, and the node recovers automatically."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import UUID

import psycopg
import pytest

from compute.models import Job, Node
from tenants.isolation.scoping import tenant_scope
from tests.faults.harness import WorkCluster, work_cluster
from tests.support.waiting import wait_until

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def home(process_environment: Callable[..., dict[str, str]], tmp_path: Path, own_valkey: str) -> Iterator[WorkCluster]:
    with work_cluster(process_environment, tmp_path, own_valkey, EXCHEQUER_LEASE_S=30) as opened:
        opened.controller()
        yield opened


def pass_the_time(superuser: psycopg.Connection) -> None:
    """Age unclaimed attempts to the limit of a node."""
    superuser.execute(
        "UPDATE compute_attempt SET assigned_at = assigned_at - interval '65 seconds' WHERE state = 'assigned'"
    )


def kills_of(home: WorkCluster, job_id: UUID) -> int:
    with tenant_scope(home.tenant.id):
        return Job.objects.get(id=job_id).infrastructure_kills


@pytest.mark.nightly
def test_a_worker_that_stops_consuming_loses_its_job_and_ends_to_be_started_again(
    home: WorkCluster, superuser: psycopg.Connection
) -> None:
    unresponsive = home.node(EXCHEQUER_CPU_DEVICES=1, UNRESPONSIVE_AFTER_S=3)
    wait_until(lambda: " ready." in home.log("n1"), "the worker", 540)
    job_id = home.submit(steps=3)
    wait_until(lambda: home.job(job_id).attempts, "the assignment", 540)
    pass_the_time(superuser)
    wait_until(lambda: home.job(job_id).attempts[0].state == "ended", "the attempt to be taken back", 540)
    assert (home.job(job_id).state, len(home.job(job_id).attempts)) == ("queued", 1)
    wait_until(lambda: unresponsive.poll() is not None, "the worker to end", 540)
    assert "node.hears_nothing" in home.log("n1")
    assert not Node.objects.get().accepting
    home.node(EXCHEQUER_CPU_DEVICES=1)
    job = home.wait(job_id)
    assert (job.state, [run.cause for run in job.attempts]) == ("succeeded", ["stopped", "succeeded"])
    assert kills_of(home, job_id) == 0


def test_a_node_recovers_from_an_outage_of_the_broker(home: WorkCluster, superuser: psycopg.Connection) -> None:
    node = home.node(EXCHEQUER_CPU_DEVICES=1)
    assert home.wait(home.submit(steps=3)).state == "succeeded"
    superuser.execute("UPDATE compute_node SET accepting = false")  # what the reaper does meanwhile
    wait_until(lambda: Node.objects.get().accepting, "the node to answer", 540)
    assert home.wait(home.submit(steps=3)).state == "succeeded"
    assert node.poll() is None
