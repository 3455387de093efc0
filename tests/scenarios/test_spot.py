"""Journey U4 on the real worker with the real training: a spot job gives way, goes on, and makes the same model."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.scenarios.stack import Stack
from tests.support.datasets import csv_bytes
from tests.support.waiting import wait_until

pytestmark = pytest.mark.xdist_group("walks")
#: Five seconds of training and more on one processor: long enough to be stopped in the middle.
LONG = {"epochs": 50, "patience": 50, "width": 512, "layers": 4}
SHORT = {"epochs": 1}


def begun(stack: Stack, job_id: str) -> Any:
    return (stack.job(job_id)["progress"].get("done") or 0) >= 1


@pytest.mark.nightly
def test_u4_a_spot_job_gives_way_to_work_on_demand_resumes_and_makes_the_same_model(stack: Stack) -> None:
    dataset = stack.upload("digits-on-spot", csv_bytes("digits"), "target")
    devices = [row for row in stack.get("devices/")["results"] if row["serves"] == "jobs" and row["state"] == "ready"]
    spot = stack.launch(dataset, tier="spot", params=LONG, name="spot")
    wait_until(lambda: begun(stack, spot), "the spot job has trained an epoch", 120)
    twin = stack.launch(dataset, params=LONG, name="twin")
    others = [stack.launch(dataset, params=SHORT, name="short") for _ in devices[1:]]
    job, same = stack.wait_ended(spot, 400), stack.wait_ended(twin, 400)
    for other in others:
        assert stack.wait_ended(other)["state"] == "succeeded"

    first, *_, last = job["attempts"]
    assert (job["state"], first["cause"], last["cause"]) == ("succeeded", "preempted", "succeeded")
    assert len(same["attempts"]) == 1, "work on demand within its part gives way to nobody"
    assert job["metrics"] == same["metrics"], "it went on where it had stopped, with the same random numbers"
    log = " ".join(line["line"] for line in stack.get(f"jobs/{spot}/logs/?limit=200")["results"])
    assert "resumed from the checkpoint" in log

    rate = Decimal(job["unit_amount"]["amount"])
    for run in job["attempts"]:
        assert Decimal(run["cost"]["amount"]) == Decimal(run["billed_seconds"]) * rate > 0
    costs = [Decimal(run["cost"]["amount"]) for run in job["attempts"]]
    assert sum(costs) == Decimal(job["cost"]["amount"])
    on_demand = Decimal(job["on_demand_cost"]["amount"])
    assert on_demand > Decimal(job["cost"]["amount"])
    assert on_demand - Decimal(job["cost"]["amount"]) == Decimal(job["spot_saving"]["amount"])
