"""An endpoint of the demo: deployed, called for weeks, billed batch by batch, monitored, with feedback.

The real serving node takes the slot over later. Until then this simulates it: slices of money, usage through the
function of its accounting, traffic sums through the one that stores them.
"""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from random import Random
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from django.conf import settings

from billing.budgets.holds import BudgetExceeded
from billing.metering.metering import record_usage
from compute.allocations import allocations
from compute.devices.base import Found
from compute.fleet import nodes
from compute.scheduling import slots
from config.demo.children import Done
from config.demo.organisations import Organisation
from config.demo.tables import Sheet
from models_app.endpoints import deployments, reservations
from models_app.measures import prediction_id
from models_app.measures.window import Window
from models_app.models import EndpointState, ModelVersion
from models_app.monitoring import feedback, windows
from models_app.serving.accounting.usage import intervals_of
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope

SLOTS = 8
DRIFT_DAYS = 3
LABELS_A_DAY = 14


@dataclass
class DemoTraffic:
    """Requests and their predictions, row by row, in the order of the arriving table."""

    sheet: Sheet
    answers: list[Any]
    ground_truth: list[Any]

    def sample_rows(self, chance: Random, rows: int, *, moved: bool) -> list[int]:
        """Return the rows that arrive now: those from before the drift, or from after it."""
        first, last = (self.sheet.moved, len(self.sheet.rows)) if moved else (0, self.sheet.moved)
        return [chance.randrange(first, last) for _ in range(rows)]


def traffic(sheet: Sheet, predicted: Done) -> DemoTraffic:
    """Return the arriving rows with the model's predictions."""
    with (predicted.out / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    answers = [row["label"] if "label" in row else float(row["prediction"]) for row in rows]
    return DemoTraffic(sheet, answers, sheet.column(sheet.target))


def open_node(boot: UUID, host: str) -> nodes.Registered:
    """Register this host's serving node with its slots: the real one takes them over when it starts."""
    found = [
        Found(f"serving-{at}", "cpu", allocations.SERVING, f"Serving slot {at} of {host}", at, 0) for at in range(SLOTS)
    ]
    name = f"serving.{settings.EXCHEQUER.effective_node_id}"
    return nodes.register(name=name, hostname=host, boot=boot, found=found, missing_layers=[], serves=True)


class DemoEndpoint:
    """One endpoint's weeks."""

    def __init__(self, one: Organisation, actor: Actor, served: DemoTraffic, node: nodes.Registered, seed: int) -> None:
        self.one = one
        self.actor = actor
        self.served = served
        self.node = node
        self.chance = Random(f"{seed}:{one.slug}:traffic")
        self.window = Window()
        self.columns = {name: served.sheet.column(name) for name in served.sheet.columns}
        self.slice = 0
        self.batch = 0
        self.ids: list[tuple[str, Any]] = []

    def deploy(self, version_id: UUID) -> None:
        """Deploy a version, and report it ready as its node."""
        row = deployments.deploy(actor=self.actor, name=self.one.service.name, version_id=version_id)
        self.id, self.project_id, self.version_id = row.id, row.project_id, row.version_id
        nodes.alive(self.node)
        slots.assign_slots()
        self.renew()
        deployments.report(
            tenant_id=self.actor.tenant_id, endpoint_id=self.id, generation=row.generation, state=EndpointState.READY
        )
        with tenant_scope(self.actor.tenant_id):
            version = ModelVersion.objects.get(id=version_id)
        self.classes = [str(word) for word in version.signature["classes"]]
        self.features = list(version.baseline["features"])
        self.window.track(version_id, version.baseline)

    def renew(self) -> None:
        """Renew the lease of the slot, as the node does with each heartbeat."""
        for tenant_id, allocation_id in allocations.mine(self.node.node_id):
            allocations.renew(
                tenant_id=tenant_id, allocation_id=allocation_id, node_id=self.node.node_id, boot=self.node.boot
            )

    def answer(self, moment: datetime, requests: int, *, moved: bool) -> None:
        """Answer a batch of requests: bill it from a slice, count the inputs, keep the prediction ids."""
        tenant_id = self.actor.tenant_id
        self.slice += 1
        try:
            money = reservations.take(tenant_id, self.id, self.node.boot, self.slice)
        except BudgetExceeded:
            return  # the node responds 402 to all of them, and nothing is counted
        latency = [self.chance.lognormvariate(math.log(7.5), 0.45) for _ in range(requests)]
        compute_ms = round(requests * self.chance.uniform(0.5, 0.8), 3)
        self.batch += 1
        record = {
            "endpoint": str(self.id), "name": self.one.service.name, "project": str(self.project_id), "n": self.batch,
            "at": money.db_now.isoformat(), "us": int(compute_ms * 1000), "requests": requests, "ms": str(compute_ms),
        }  # fmt: skip
        with tenant_scope(tenant_id):
            record_usage(intervals_of(record, self.node.boot), hold_id=money.hold_id)
        self._count(moment, requests, latency, compute_ms, moved=moved)
        windows.flush(tenant_id, self.id, self.window)
        reservations.close(tenant_id, money)

    def send_ground_truth(self) -> None:
        """Send ground truth for some of the latest predictions."""
        labelled, self.ids = self.ids[:LABELS_A_DAY], []
        if labelled:
            items = [{"prediction_id": name, "label": ground_truth} for name, ground_truth in labelled]
            with tenant_scope(self.actor.tenant_id):
                feedback.record(actor=self.actor, endpoint_id=self.id, items=items)

    def _count(self, moment: datetime, requests: int, latency: list[float], compute_ms: float, *, moved: bool) -> None:
        rows = self.served.sample_rows(self.chance, requests, moved=moved)
        refused = {"bad_instance": 1} if self.chance.random() < 0.1 else {}
        self.window.add(
            self.version_id,
            columns={name: [self.columns[name][row] for row in rows] for name in self.features},
            outputs=[self.served.answers[row] for row in rows],
            latency_ms=latency,
            errors=refused,
            compute_ms=compute_ms,
        )
        key = prediction_id.derive_key(settings.EXCHEQUER.serving_key, self.id)
        for row in rows[:LABELS_A_DAY]:
            answer = self.served.answers[row]
            outcome = self.classes.index(answer) if self.classes else answer
            name = prediction_id.sign(
                key,
                version_id=self.version_id,
                at_ms=int(moment.timestamp() * 1000),
                outcome=outcome,
                random=self.chance.randbytes(6),
            )
            self.ids.append((name, self.served.ground_truth[row]))


def ticks(one: Organisation, *, start: datetime, until: datetime, seed: int) -> list[tuple[datetime, int, bool]]:
    """Return when requests arrive, how many, and whether the drift has begun. Pure."""
    chance = Random(f"{seed}:{one.slug}:ticks")
    zone = ZoneInfo(one.timezone)
    first, days = start.astimezone(zone).date(), max(1, (until - start).days)
    found = []
    for day in range(days + 2):
        date = first + timedelta(days=day)
        busy = one.weekday[date.weekday()] * (1 + (one.growth - 1) * day / days)
        for tick in range(one.service.ticks):
            hours = one.opens + len(one.hours) * (tick + 0.3) / one.service.ticks
            at = datetime.combine(date, time(), zone) + timedelta(hours=hours, minutes=chance.uniform(0, 50))
            requests = round(one.service.requests / one.service.ticks * max(0.1, busy) * chance.uniform(0.8, 1.2))
            if start <= at < until - timedelta(minutes=3):
                moved = one.service.drifts and at > until - timedelta(days=min(DRIFT_DAYS, days / 2))
                found.append((at, max(3, requests), moved))
    return found
