"""An hour of two machines on real workers: what was billed, allocated, held and free adds up, in seconds and in money.

`REAL_HOUR_S` sets how many seconds the hour has.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import count
from typing import Any

import pytest

from billing.cluster.split import RULES
from tests.scenarios.machines.console_client import ConsoleClient
from tests.scenarios.machines.second_machine import SecondMachine
from tests.scenarios.stack import Stack, running_stack
from tests.support.datasets import csv_bytes
from tests.support.waiting import wait_until

pytestmark = [pytest.mark.nightly, pytest.mark.xdist_group("real hour")]

HOUR_S = float(os.environ.get("REAL_HOUR_S", "3600"))
LEASE_S = 4
#: A lease, a heartbeat before it and a sweep after it: how long a node that fell silent may still count.
LONGEST_SILENCE_S = LEASE_S + 3
FIRST_DEVICES, SECOND_DEVICES = 2, 1
#: At these parts of the hour.
PLAN = ((0.08, "start"), (0.30, "leave"), (0.38, "start"), (0.62, "kill"), (0.70, "start"), (0.92, "leave"))
PER_HOUR = "333.333333"
LIVE = ("queued", "running")
MICROSECOND = Decimal("0.000001")


@dataclass
class Customer:
    """An organisation that launches until the hour is over."""

    stack: Stack
    headers: dict[str, str]
    dataset: str = ""

    def get(self, path: str, **query: str) -> Any:
        return self.stack.get(path, headers=self.headers, params=query)

    def may_train(self) -> bool:
        return bool(self.get(f"datasets/{self.dataset}/")["state"] == "ready")

    def jobs(self) -> list[dict[str, Any]]:
        found, query = [], {"limit": "100"}
        while True:
            page = self.get("jobs/", **query)
            found += page["results"]
            if not page.get("next"):
                return found
            query["cursor"] = page["next"].partition("cursor=")[2].partition("&")[0]

    def launch(self, chance: random.Random, number: int) -> None:
        body = {
            "name": f"hour {number}",
            "kind": "train",
            "project": "default",
            "recipe": "tabular.classifier",
            "dataset": self.dataset,
            "params": {"epochs": chance.randint(2, 60), "patience": 60, "width": chance.choice((32, 256))},
            "device_class": "cpu",
            "tier": chance.choice(("on_demand", "on_demand", "spot")),
            "devices": chance.choice((1, 1, 1, 2)),
            "one_node": False,
            "max_seconds": 600,
        }
        self.stack.post("jobs/", json=body, headers=self.headers)

    def cancel_one(self, chance: random.Random) -> None:
        if running := self.get("jobs/", state="running")["results"]:
            path = f"jobs/{chance.choice(running)['id']}/cancel/"
            answer = self.stack.request("POST", path, headers=self.headers)
            assert answer.status_code in (200, 409), "it may have ended meanwhile"


@pytest.fixture(scope="module")
def stack(django_db_setup: None) -> Iterator[Stack]:
    with running_stack(EXCHEQUER_CPU_DEVICES=str(FIRST_DEVICES), EXCHEQUER_LEASE_S=str(LEASE_S)) as running:
        yield running


def customers(stack: Stack) -> list[Customer]:
    """Return the installation's first organisation, and a second one."""
    second = "exq_5ec0nd00_" + "k" * 43
    made = stack.manage(
        "create_tenant",
        "Harbour",
        "--email",
        "hans@harbour.example",
        "--password",
        "a long pass phrase",
        "--api-key",
        second,
    )
    assert made.returncode == 0, made.stderr
    both = [Customer(stack, {}), Customer(stack, {"Authorization": f"Bearer {second}"})]
    for one in both:
        sent = {"name": "digits", "target": "target"}
        upload = stack.post(
            "datasets/", data=sent, files={"file": ("digits.csv", csv_bytes("digits"), "text/csv")}, headers=one.headers
        )
        one.dataset = upload["id"]
        wait_until(one.may_train, "the table is read")
    return both


def test_a_real_hour_of_two_machines_adds_up(stack: Stack) -> None:
    console = console_of(stack)
    since = first_registered(console)
    console.send(
        "POST",
        "device-costs/",
        device_class="cpu",
        per_hour=PER_HOUR,
        currency="EUR",
        starts_on=f"{month(since)}-01",
        reason="Two machines",
    )
    machine = SecondMachine(stack, "atlas", SECOND_DEVICES, LONGEST_SILENCE_S)
    machine.join()
    both = customers(stack)
    try:
        work(both, machine)
        wait_until(lambda: not any(live(one) for one in both), "all jobs to end", 900)
        # A device that is still vacated counts as held until its lease ends.
        time.sleep(LONGEST_SILENCE_S)
        check_sums(console, both, machine, since)
    finally:
        machine.end()


def console_of(stack: Stack) -> ConsoleClient:
    """Return an operator who enters what devices cost."""
    email, password = "fay@platform.example", "a long pass phrase"
    for role in ("platform_finance", "platform_admin"):
        made = stack.manage("operator", email, "--role", role, "--password", password)
        assert made.returncode == 0, made.stderr
    return ConsoleClient(f"http://127.0.0.1:{stack.variables['EXCHEQUER_OPERATOR_PORT']}", email, password)


def first_registered(console: ConsoleClient) -> float:
    """Return when the first node registered, by the clock of this process."""
    (node,) = [one for one in console.get("fleet/")["results"] if not one["name"].startswith("serving.")]
    return datetime.fromisoformat(node["registered_at"]).timestamp()


def work(both: list[Customer], machine: SecondMachine) -> None:
    """Launch, cancel, and let the second machine come and go, for an hour."""
    chance, numbers, began, plan = random.Random(3600), count(1), time.monotonic(), list(PLAN)
    while (passed := (time.monotonic() - began) / HOUR_S) < 1:
        if plan and passed >= plan[0][0]:
            getattr(machine, plan.pop(0)[1])()
        for one in both:
            if len(live(one)) < 3:
                one.launch(chance, next(numbers))
        if chance.random() < 0.05:
            chance.choice(both).cancel_one(chance)
        time.sleep(chance.uniform(1, 4))
    assert not plan, "the second machine came and went"


def live(customer: Customer) -> list[dict[str, Any]]:
    """Return the jobs that wait or run."""
    found: list[dict[str, Any]] = customer.get("jobs/", state=",".join(LIVE), limit="100")["results"]
    return found


def check_sums(console: ConsoleClient, both: list[Customer], machine: SecondMachine, since: float) -> None:
    """Compare what people, organisations and operators are shown with each other, and with this process's clock."""
    allocated, nodes, months = Decimal(0), set(), sorted({month(since), month(time.time())})
    for one in both:
        jobs = [one.get(f"jobs/{job['id']}/") for job in one.jobs()]
        runs = [run for job in jobs for run in job["attempts"]]
        nodes |= {run["node"] for run in runs}
        billed = sum(Decimal(job["billed_seconds"]) for job in jobs)
        assert billed == sum(Decimal(run["billed_seconds"]) for run in runs) > 0
        measured = on_invoices(one, billed)
        rows = one.get("utilisation/", group_by="device_class")["results"]
        assert exact(sum(row["allocated_s"] for row in rows)) == measured >= billed
        allocated += measured
    assert len(nodes) == 2, "both machines worked"
    of_all = console.get("utilisation/", group_by="device_class")["results"]
    assert exact(sum(row["allocated_s"] for row in of_all)) == allocated
    for rule in RULES:
        assert sum(check_bill(console.get("cluster-bill/", month=one, rule=rule)) for one in months) == allocated
    before = time.time()
    bills = [console.get("cluster-bill/", month=one) for one in months]
    after = time.time()
    there = sum(row["seconds"]["capacity"] for bill in bills for row in bill["rows"])
    least = FIRST_DEVICES * (before - since - LONGEST_SILENCE_S) + SECOND_DEVICES * machine.least_s
    assert least <= there <= FIRST_DEVICES * (after - since) + SECOND_DEVICES * machine.most_s


def on_invoices(customer: Customer, billed: Decimal) -> Decimal:
    """Check that the drafts bill exactly these seconds; return those that they show as measured."""
    quantity = measured = Decimal(0)
    for invoice in customer.get("invoices/")["results"]:
        lines = customer.get(f"invoices/{invoice['id']}/lines/")["results"]
        assert {line["meter"] for line in lines} == {"device_seconds"}, "nothing else was used"
        assert Decimal(invoice["total"]["amount"]) == sum(Decimal(line["amount"]["amount"]) for line in lines) > 0
        quantity += sum(Decimal(line["quantity"]) for line in lines)
        measured += sum(Decimal(line["measured"]) for line in lines)
    assert quantity == billed
    return measured


def check_bill(bill: dict[str, Any]) -> Decimal:
    """Check a bill's columns, rows and seconds against its total; return the seconds that were allocated."""
    total = Decimal(bill["total"]["amount"])
    assert Decimal(bill["difference"]["amount"]) == 0 < total
    assert bill["without_cost"] == []
    assert sum(Decimal(one["amount"]) for one in bill["columns"].values()) == total
    assert sum(Decimal(row["total"]["amount"]) for row in bill["rows"]) == total
    sums: dict[str, Decimal] = {}
    for row in bill["rows"]:
        seconds = {name: exact(value) for name, value in row["seconds"].items()}
        assert seconds["capacity"] == seconds["allocated"] + seconds["held"] + seconds["free"]
        assert seconds["allocated"] == seconds["used"] + seconds["idle"]
        assert sum(Decimal(one["amount"]) for one in row["cost"].values()) == Decimal(row["total"]["amount"])
        sums = {name: sums.get(name, Decimal(0)) + value for name, value in seconds.items()}
    assert abs(total - sums["capacity"] * Decimal(PER_HOUR) / 3600) <= Decimal("0.005")
    return sums["allocated"]


def exact(seconds: float) -> Decimal:
    """Return seconds as the database has them, to the microsecond."""
    return Decimal(repr(seconds)).quantize(MICROSECOND)


def month(moment: float) -> str:
    """Return the month of a moment in UTC, as addresses write it."""
    return time.strftime("%Y-%m", time.gmtime(moment))
