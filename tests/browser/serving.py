"""An endpoint with an afternoon of traffic: deployed by the real operations, counted as a node does."""

from __future__ import annotations

import uuid
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from django.conf import settings
from sklearn import datasets

from compute.allocations import allocations
from compute.devices.base import Found
from compute.fleet import nodes
from compute.models import Job
from compute.scheduling import slots
from models_app.endpoints import deployments, endpoint_keys
from models_app.measures import numpy_bins, prediction_id
from models_app.measures.baseline import baseline
from models_app.measures.window import Window
from models_app.models import Endpoint, ModelVersion
from models_app.monitoring import feedback, windows
from models_app.pipelines import pipelines
from models_app.registry import registry
from models_app.schedules import schedules
from tenants.access.actor import Actor
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope

if TYPE_CHECKING:
    from tests.browser.world import Builder

ROUNDS, ROWS = 8, 90
SHIFTED = "mean_radius"


@cache
def table() -> tuple[list[str], Any, Any]:
    """Return names, rows and classes of the breast cancer table."""
    found = datasets.load_breast_cancer()
    return [str(name).replace(" ", "_") for name in found.feature_names], found.data, found.target


@cache
def baseline_of_cancer() -> dict[str, Any]:
    """Return the training baseline, computed by the runner's code."""
    names, rows, truth = table()
    inputs = {name: ("numeric", rows[:, at]) for at, name in enumerate(names)}
    return baseline(inputs, len(rows), classes=["0", "1"], predicted=truth[:200])


def run_pipeline(owner: Actor, project_id: uuid.UUID, version_id: uuid.UUID) -> dict[str, uuid.UUID]:
    """Run a pipeline that compares a version with what serves, and deploys nothing since it is no better."""
    better = {"step": "compare", "output": "better", "is": "=", "than": True}
    best = {"from": "compare", "output": "model_version"}
    live = {"metric": "accuracy", "endpoint": "cancer-screening"}
    steps = [
        {"name": "compare", "kind": "compare", "with": {"model_version": str(version_id), **live}},
        {"name": "deploy", "kind": "deploy", "when": better, "with": {"model_version": best, "endpoint": "cancer-screening"}},
        {"name": "report", "kind": "report", "needs": ["compare"]},
    ]  # fmt: skip
    made = pipelines.create(actor=owner, project_id=project_id, name="weekly", steps={"steps": steps})
    weekly = {"name": "weekly", "cron": "0 6 * * MON", "zone": "Europe/Zurich", "pipeline": made.id}
    schedule = schedules.create(actor=owner, wanted=weekly)
    run = schedules.launch_now(actor=owner, schedule_id=schedule.id)
    return {"pipeline": made.id, "pipeline_run": run.pipeline_run_id or made.id, "schedule": schedule.id}


def serve(builder: Builder, owner: Actor, job: Job, first: datetime) -> uuid.UUID:
    """Promote the model of a job, deploy it, serve traffic with one drifting input; return the endpoint."""
    builder.at(first)
    with tenant_scope(owner.tenant_id):
        version = ModelVersion.objects.get(id=Job.objects.get(id=job.id).result["model_version"])
    colleague = replace(owner, id=uuid.uuid4(), label="mlops@example.org")
    for second in (colleague, owner):
        registry.promote(actor=second, version_id=version.id, stage="production")
    endpoint = deployments.deploy(actor=owner, name="cancer-screening", version_id=version.id)
    _give_a_slot(builder, endpoint)
    deployments.report(tenant_id=owner.tenant_id, endpoint_id=endpoint.id, generation=1, state="ready")
    endpoint_keys.create(actor=owner, endpoint_id=endpoint.id, name="clinic", requests_per_minute=600)
    names, rows, truth = table()
    chance, window = np.random.default_rng(5), Window(numpy_bins.count)
    window.track(version.id, version.baseline)
    for number in range(ROUNDS):
        builder.at(first + timedelta(minutes=10 * (number + 1)))
        chosen = chance.integers(0, len(rows), ROWS)
        columns = {name: rows[chosen, at].copy() for at, name in enumerate(names)}
        if number >= ROUNDS // 2:
            columns[SHIFTED] += rows[:, names.index(SHIFTED)].std()
        window.add(
            version.id,
            columns=columns,
            outputs=[str(label) for label in truth[chosen]],
            latency_ms=chance.lognormal(1.4, 0.4, ROWS).tolist(),
            errors={"bad_instance": 3} if number % 3 == 0 else None,
            compute_ms=2.4 * ROWS,
        )
        windows.flush(owner.tenant_id, endpoint.id, window)
    _label(owner, endpoint)
    return endpoint.id


def _give_a_slot(builder: Builder, endpoint: Endpoint) -> None:
    boot = uuid.uuid4()
    found = [Found("slot-0", "cpu", "serving", "Serving slot 0", 0, 0)]
    node = nodes.register(
        name="serving.atlas", hostname="atlas", boot=boot, found=found, missing_layers=[], serves=True
    )
    with builder.control():
        slots.assign_slots()
    assert endpoint.allocation_id is not None
    assert allocations.renew(
        tenant_id=endpoint.tenant_id, allocation_id=endpoint.allocation_id, node_id=node.node_id, boot=boot
    )


def _label(owner: Actor, endpoint: Endpoint) -> None:
    key = prediction_id.derive_key(settings.EXCHEQUER.serving_key, endpoint.id)
    at = int(now().timestamp() * 1000)
    items = [
        {
            "prediction_id": prediction_id.sign(
                key, version_id=endpoint.version_id, at_ms=at, outcome=number % 2, random=number.to_bytes(6, "big")
            ),
            "label": str(number % 2 if number % 30 else 1 - number % 2),
        }
        for number in range(120)
    ]
    with tenant_scope(owner.tenant_id):
        feedback.record(actor=owner, endpoint_id=endpoint.id, items=items)
