"""A part goes away and returns: the object store, the broker, PostgreSQL, disk space.

The whole product as `make up` starts it. Meanwhile every response is 200 or 503, nothing is half done or charged, and
afterwards everything recovers.
"""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.faults.parts import Parts, pause, running_parts, wait_running, watched
from tests.scenarios.stack import Stack
from tests.support.datasets import TARGET, csv_bytes
from tests.support.waiting import wait_until

# One start serves the whole module: on one worker.
pytestmark = [
    pytest.mark.xdist_group("parts"),
    pytest.mark.nightly,
]  # the whole product is started, broken and recovered
QUICK = {"epochs": 3}


@pytest.fixture(scope="module")
def parts(django_db_setup: None) -> Iterator[Parts]:
    with running_parts() as running:
        yield running


@pytest.fixture(scope="module")
def dataset(parts: Parts) -> str:
    """A ready dataset."""
    return parts.stack.upload("breast_cancer", csv_bytes("breast_cancer"), TARGET)


def send_file(stack: Stack, name: str) -> requests.Response:
    file = (f"{name}.csv", csv_bytes("diabetes"), "text/csv")
    return stack.request("POST", "datasets/", data={"name": name, "target": TARGET}, files={"file": file})


def names(stack: Stack) -> list[str]:
    return [row["name"] for row in stack.get("datasets/?limit=200")["results"]]


def assert_ended_well(stack: Stack, job_id: str, seconds: float = 150) -> dict[str, Any]:
    """Assert that a job ends, makes one model version, and its bill is the sum of its attempts."""
    try:
        job = stack.wait_ended(job_id, seconds)
    except AssertionError as late:
        tails = "\n".join(f"== {part}\n{stack.log(part)[-3000:]}" for part in ("controller", "node", "postgres"))
        raise AssertionError(f"{late}\n{stack.job(job_id)}\n{tails}") from None
    assert job["state"] == "succeeded", job
    assert Decimal(job["billed_seconds"]) == sum(Decimal(run["billed_seconds"]) for run in job["attempts"])
    assert [run["cause"] for run in job["attempts"]].count("succeeded") == 1
    assert job["model_version"]
    return job


def devices_in_use(stack: Stack) -> int:
    rows = stack.get("quotas/")["results"]
    return sum(row["in_use"] for row in rows if row["resource"].startswith("devices:"))


def assert_nothing_is_reserved(stack: Stack) -> None:
    """Assert that no job lives and no quota is in use."""
    wait_until(lambda: devices_in_use(stack) == 0, "the quota is free")


def test_while_the_store_is_away_nothing_is_half_made_and_it_heals(parts: Parts, dataset: str) -> None:
    stack, person = parts.stack, parts.person()
    before = names(stack)
    training = stack.launch(dataset, params=QUICK)
    wait_running(stack, training)
    parts.store.kill()
    try:
        with watched(parts) as watch:
            refused = send_file(stack, "lost")
            assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
            assert refused.headers["Content-Type"] == "application/problem+json"
            assert refused.headers["Retry-After"]
            file = ("lost.csv", csv_bytes("diabetes"), "text/csv")
            form = person.send("/t/lab/datasets/upload/", {"name": "lost", "target": TARGET}, files={"file": file})
            assert form.status_code in (422, 503)
            assert "The object store does not answer" in form.text
            assert names(stack) == before
            waiting = stack.launch(dataset, params=QUICK)
            wait_until(lambda: "attempt.store_failed" in stack.log("node"), "the job that ends finds no store")
            assert stack.job(training)["state"] == "running"
    finally:
        parts.store.start()
    assert watch.statuses[200] > 0
    assert len(assert_ended_well(stack, training)["attempts"]) == 1, "what it learnt was kept until the store was back"
    assert_ended_well(stack, waiting)
    assert names(stack) == before
    link = stack.get(f"versions/{stack.job(waiting)['model_version']}/download/")["url"]
    weights = requests.get(link, headers={"Authorization": f"Bearer {stack.key}"}, timeout=30)
    assert (weights.status_code, bool(weights.content)) == (200, True)
    assert send_file(stack, "kept").status_code == 201


@pytest.mark.nightly
def test_an_upload_that_no_store_could_serve_is_read_when_it_is_back(parts: Parts) -> None:
    stack = parts.stack
    ops = stack.pid("ops")
    os.kill(ops, signal.SIGSTOP)  # so that it is read only after the store has gone
    sent = send_file(stack, "late").json()
    parts.store.kill()
    os.kill(ops, signal.SIGCONT)
    try:
        wait_until(lambda: "ingest.not_done" in stack.log("ops"), "the reader finds no store")
        assert stack.get(f"datasets/{sent['id']}/")["state"] == "ingesting"
    finally:
        parts.store.start()
    wait_until(lambda: stack.get(f"datasets/{sent['id']}/")["state"] == "ready", "the upload is read")


def check_launches_while_the_broker_is_away(parts: Parts, dataset: str, seconds: float) -> None:
    stack = parts.stack
    parts.broker.kill()
    try:
        with watched(parts) as watch:
            launched = [stack.launch(dataset, params=QUICK) for _ in range(2)]
            assert send_file(stack, f"unheard-{seconds:.0f}").status_code == 201
            pause(seconds)
            assert all(stack.job(job_id)["state"] in ("queued", "running", "succeeded") for job_id in launched)
    finally:
        parts.broker.start()
    assert watch.statuses[503] == 0, "nobody on the web notices"
    for job_id in launched:
        assert_ended_well(stack, job_id)
    assert_nothing_is_reserved(stack)


def test_launches_are_taken_while_the_broker_is_away_and_run_when_it_is_back(parts: Parts, dataset: str) -> None:
    check_launches_while_the_broker_is_away(parts, dataset, seconds=4)


@pytest.mark.nightly
def test_the_broker_may_be_away_for_a_minute(parts: Parts, dataset: str) -> None:
    check_launches_while_the_broker_is_away(parts, dataset, seconds=60)


def test_a_restart_of_postgresql_is_a_503_with_retry_after_and_then_heals(parts: Parts, dataset: str) -> None:
    stack = parts.stack
    training = stack.launch(dataset, params=QUICK)
    wait_running(stack, training)
    count = len(stack.get("jobs/?limit=200")["results"])
    answers = []
    with watched(parts) as watch:
        for _ in range(2):
            os.kill(stack.pid("postgres"), signal.SIGKILL)
            body = {
                "name": "in between",
                "kind": "train",
                "recipe": "tabular.classifier",
                "dataset": dataset,
                "params": QUICK,
            }
            for _ in range(5):
                answers.append(stack.request("POST", "jobs/", json=body))
                pause(0.1)
            wait_until(lambda: stack.request("GET", "me/").status_code == 200, "the database is back")
    assert {answer.status_code for answer in answers} <= {201, 503}
    assert watch.statuses[503] + sum(answer.status_code == 503 for answer in answers) > 0, "it was away"
    for answer in answers:
        if answer.status_code == 503:
            assert (answer.json()["code"], answer.headers["Retry-After"]) == ("unavailable", "5")
    stored = [answer.json()["id"] for answer in answers if answer.status_code == 201]
    assert len(stack.get("jobs/?limit=200")["results"]) == count + len(stored), "each answer is true"
    for job_id in stored[1:]:
        stack.post(f"jobs/{job_id}/cancel/", status=200)
    for job_id in [training, *stored[:1]]:
        assert_ended_well(stack, job_id)
    assert_nothing_is_reserved(stack)


@contextmanager
def full_disk(folder: Path) -> Iterator[None]:
    """Replace a folder by a full disk."""
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k,mode=700", "tmpfs", str(folder)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"only root may mount a small disk ({mounted.stderr.strip()}); see the faked ones in README.md")
    with suppress(OSError):
        (folder / "ballast").write_bytes(b"x" * 4096)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_charges_nothing_and_is_over_when_there_is_room(parts: Parts, dataset: str) -> None:
    stack = parts.stack
    with full_disk(stack.home / "work"), watched(parts):
        job_id = stack.launch(dataset, params=QUICK)
        wait_until(lambda: [run for run in stack.job(job_id)["attempts"] if run["end"]], "the disk is met")
        job = stack.job(job_id)
        assert job["state"] in ("queued", "running"), job
        assert Decimal(job["cost"]["amount"]) == 0
    ended = assert_ended_well(stack, job_id)
    assert all(Decimal(run["cost"]["amount"]) == 0 for run in ended["attempts"] if run["cause"] != "succeeded")
    assert_nothing_is_reserved(stack)


@pytest.mark.nightly
def test_an_upload_that_met_a_full_disk_is_read_when_there_is_room(parts: Parts) -> None:
    stack = parts.stack
    with full_disk(stack.home / "work"), watched(parts):
        before = stack.log("ops").count("ingest.not_done")
        sent = send_file(stack, "no-room").json()
        wait_until(lambda: stack.log("ops").count("ingest.not_done") > before, "the disk is met")
        assert stack.get(f"datasets/{sent['id']}/")["state"] == "ingesting"
    wait_until(lambda: stack.get(f"datasets/{sent['id']}/")["state"] == "ready", "the upload is read")


def test_the_ledger_reconciles_at_the_end(parts: Parts) -> None:
    for command in ("verify_audit", "verify_ledger", "reconcile"):
        done = parts.stack.manage(command)
        assert done.returncode == 0, f"{command}: {done.stdout} {done.stderr}"
    for part in ("web", "ops", "node", "controller"):
        assert "Internal Server Error" not in parts.stack.log(part)
