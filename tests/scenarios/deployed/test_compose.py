"""A deployment as the Compose file describes it, without Docker: a job from upload to invoice, and any one process killed."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_hosts import rank_on
from tests.scenarios.deployed.deployment import Deployment
from tests.support.datasets import TARGET, write_csv
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("namespaces")]
#: Long enough that a part can be killed while it runs; a checkpoint a few times a second.
LONG = {"epochs": 60, "patience": 60, "batch_size": 8}
PARTS = (
    "node", "controller", "controller-2", "broker", "database", "store", "web", "operator", "usage", "ops", "fetcher", "serving",
)  # fmt: skip


@pytest.fixture(scope="module")
def deployment() -> Iterator[Deployment]:
    folder = Path(tempfile.mkdtemp(prefix="exq-"))
    folder.chmod(0o755)
    made = None
    try:
        made = Deployment(folder)
        made.up()
        yield made
    finally:
        if made is not None:
            made.down()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def dataset(deployment: Deployment) -> str:
    content = write_csv("breast_cancer", deployment.folder / "tmp").read_bytes()
    return deployment.upload("cancer", content, TARGET)


def reconciled(deployment: Deployment) -> None:
    for command in ("verify_audit", "verify_ledger", "reconcile"):
        done = deployment.manage(command)
        assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"


def billed(job: dict[str, Any]) -> Decimal:
    whole = Decimal(job["billed_seconds"])
    assert sum(Decimal(one["billed_seconds"]) for one in job["attempts"]) == whole
    return whole


def invoiced(deployment: Deployment) -> Decimal:
    """Return the seconds on the invoice; there is none before the first job."""
    invoices = deployment.get("invoices/")["results"]
    lines = [line for one in invoices for line in deployment.get(f"invoices/{one['id']}/lines/")["results"]]
    return sum((Decimal(line["quantity"]) for line in lines), Decimal())


def test_a_job_runs_on_the_node_and_stands_on_the_invoice(deployment: Deployment, dataset: str) -> None:
    before = invoiced(deployment)
    job = deployment.wait_ended(deployment.launch(dataset))
    assert job["state"] == "succeeded", job
    assert job["metrics"]["accuracy"] > 0.9
    assert invoiced(deployment) - before == billed(job) > 0
    assert deployment.get("audit/verify/")["ok"] is True
    reconciled(deployment)


def trains(deployment: Deployment, job_id: str) -> bool:
    """Return whether a job has an epoch behind it, and goes on."""
    job = deployment.job(job_id)
    return job["state"] == "running" and int(job["progress"].get("done") or 0) > 0


@pytest.mark.parametrize("part", PARTS)
def test_whatever_is_killed_loses_nothing(deployment: Deployment, dataset: str, part: str) -> None:
    job_id = deployment.launch(dataset, params=LONG)
    wait_until(lambda: trains(deployment, job_id), "it trains", longest_pause_s=0.1)
    deployment.kill_part(part)
    deployment.launch_part(part)
    job = wait_until(lambda: ended(deployment, job_id), "the job ends", 180)
    assert job["state"] == "succeeded", job
    assert len([one for one in job["attempts"] if one["cause"] in ("", None, "succeeded")]) == 1, job["attempts"]
    # On a slow machine a lease may end while the database recovers, and an attempt may end while the store does: then another
    # one goes on from its checkpoint.
    allowed = {"node": {2}, "database": {1, 2}, "store": {1, 2}}.get(part, {1})
    assert len(job["attempts"]) in allowed, job["attempts"]
    assert billed(job) > 0
    wait_until(lambda: part in ("broker", "database", "store") or deployment.healthy(part), f"{part} works again", 60)


def test_a_job_on_two_nodes_in_two_networks_outlives_a_killed_rank(deployment: Deployment, dataset: str) -> None:
    deployment.add_node()
    try:
        # More devices than one of them has.
        job_id = deployment.launch(dataset, params=LONG, devices=3, one_node=False)
        wait_until(lambda: trains(deployment, job_id), "it trains", 120)
        ranks = {name: rank_on(deployment.folder / "homes" / name) for name in ("node", "node-2")}
        assert all(ranks.values()), ranks
        networks = [os.readlink(f"/proc/{deployment.running[name].pid}/ns/net") for name in ranks]
        assert len(set(networks)) == 2
        os.killpg(ranks["node-2"], signal.SIGKILL)
        job = wait_until(lambda: ended(deployment, job_id), "the job ends", 240)
        assert (job["state"], len(job["attempts"])) == ("succeeded", 1), job
        assert "all ranks start again" in str(deployment.get(f"jobs/{job_id}/logs/"))
        assert billed(job) > 0
        wait_until(lambda: not any(rank_on(deployment.folder / "homes" / name) for name in ranks), "all ranks end")
    finally:
        deployment.remove_node()


def ended(deployment: Deployment, job_id: str) -> dict[str, Any] | None:
    """Return the job once it has ended; None while it runs, or while nobody answers."""
    answer = None
    try:
        answer = deployment.request("GET", f"jobs/{job_id}/")
    except OSError:
        return None
    if answer.status_code in (502, 503):
        return None
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found if found["state"] in ("succeeded", "failed", "cancelled") else None


def test_after_all_that_every_figure_adds_up(deployment: Deployment, dataset: str) -> None:
    jobs = [deployment.job(row["id"]) for row in deployment.get("jobs/")["results"]]
    assert invoiced(deployment) == sum(map(billed, jobs))
    reconciled(deployment)
