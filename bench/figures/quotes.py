"""G-i2: how often a quote's range contains the bill, over small trainings of different sizes on this machine."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from bench.contracts import make_tenant, open_contract
from bench.rows import Options, Row, figure
from bench.serving_node import object_store

ROOT = Path(__file__).resolve().parents[2]
ASSIGN = "import django; django.setup(); from compute.scheduling import assign; assign.assign_all()"
ROWS, EPOCHS = (300, 2_000, 8_000), (5, 20, 40)
LEARNING, RECENT = 4, 20
SHARE = 0.9


@figure("G-i2")
def quotes(options: Options) -> Iterator[Row]:
    """Launch trainings one after the other, each at its own quote, and count the bills within their ranges."""
    from django.conf import settings
    from django.test import override_settings

    with object_store(options.home) as store:
        names = ("S3_ENDPOINT_URL", "S3_BUCKET", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        given = {name.lower(): store[name] for name in names}
        with override_settings(EXCHEQUER=settings.EXCHEQUER.model_copy(update=given)):
            judged = list(_runs(options))
    inside = sum(one["within"] for one in judged)
    widths = sorted(one["most_s"] / max(1, one["least_s"]) for one in judged)
    absolute = {
        "runs": len(judged), "inside": inside, "median width x100": 100 * widths[len(widths) // 2],
        "start-up ms": 1000 * sum(one["start_s"] for one in judged) / len(judged),
    }  # fmt: skip
    share = max(inside / len(judged), 0.01)  # zero of a few, as in a smoke run, must not divide by zero
    yield Row("G-i2", "bills inside their quote's range", share / SHARE, 1.0, "nine of ten", absolute)


def _runs(options: Options) -> Iterator[dict[str, Any]]:
    from compute import queries
    from compute.devices.base import Found
    from compute.fleet import nodes
    from tenants.isolation.scoping import tenant_scope

    actor, project, versions = _cluster(options)
    boot = uuid4()
    found = [Found("cpu-0", "cpu", "cpu", "CPU 0", 0, 8 * 2**30)]
    chance = random.Random(7)
    learning = options.size(LEARNING, 0)
    for number in range(learning + options.size(RECENT, 1)):
        nodes.register(name="bench", hostname="bench", boot=boot, found=found, missing_layers=[])
        epochs = 2 if options.tiny else chance.choice(EPOCHS)
        job_id = _run(options, actor, project, chance.choice(versions), epochs, boot)
        with tenant_scope(actor.tenant_id):
            job = queries.job_detail(job_id)
        if job.state != "succeeded" or job.quoted is None:
            raise AssertionError(f"the job ended as {job.state}: {job.message}")
        if number >= learning:
            said = job.quoted
            took = job.attempts[0].startup_s or 0.0
            yield {"within": bool(said.within), "least_s": said.least_s, "most_s": said.most_s, "start_s": took}


def _run(options: Options, actor: Any, project: UUID, version: UUID, epochs: int, boot: UUID) -> UUID:
    """Launch one training and run it here, as a node's worker does; return its id."""
    from compute.agent.supervisor import AttemptSupervisor
    from compute.devices.host import HostSampler
    from compute.jobs import jobs
    from compute.leases import leases
    from compute.models import Attempt
    from tenants.isolation.scoping import tenant_scope

    spec = {
        "recipe": "tabular.regressor", "dataset_version": str(version), "target": "y",
        "params": {"epochs": epochs, "patience": 200 if epochs > 2 else 1},
    }  # fmt: skip
    with tenant_scope(actor.tenant_id):
        job = jobs.submit(
            actor=actor,
            asked=jobs.Submission(name="quoted", kind="train", project_id=project, spec=spec, device_class="cpu"),
        )
    subprocess.run([sys.executable, "-c", ASSIGN], cwd=ROOT, env=options.environment("control"), check=True)
    with tenant_scope(actor.tenant_id):
        attempt = Attempt.objects.get(job_id=job.id)
    mine = leases.claim(tenant_id=actor.tenant_id, attempt_id=attempt.id, token=1, node="bench", boot=boot)
    if mine is None:
        raise AssertionError("the attempt could not be claimed")
    home = options.home / "quotes"
    home.mkdir(exist_ok=True)
    AttemptSupervisor(mine, HostSampler("bench", 1), home).run()
    return UUID(str(job.id))


def _cluster(options: Options) -> tuple[Any, UUID, list[UUID]]:
    """Return a tenant's owner, its project and its datasets, ingested from uploads."""
    from models_app.datasets import ingestion, operations
    from tenants.access.actor import Actor
    from tenants.isolation.scoping import tenant_scope
    from tenants.models import Membership, Project

    tenant = make_tenant("Quotes", "quotes@example.org")
    open_contract(tenant.id)
    with tenant_scope(tenant.id):
        project = Project.objects.get(slug="default").id
        owner = Membership.objects.select_related("user").get()
    actor = Actor.member(tenant_id=tenant.id, user_id=owner.user_id, email=owner.user.email, role="owner")
    versions = []
    for rows in ROWS[: options.size(len(ROWS), 1)]:
        chance = random.Random(rows)
        lines = ["a,b,c,y"]
        for _ in range(rows):
            a, b, c = (chance.gauss(0, 1) for _ in range(3))
            lines.append(f"{a:.4f},{b:.4f},{c:.4f},{2 * a - b + chance.gauss(0, 0.3):.4f}")
        file = io.BytesIO("\n".join(lines).encode())
        with tenant_scope(tenant.id):
            version = operations.upload(actor=actor, name=f"rows {rows}", file=file, filename="t.csv", target="y")
        ingestion.ingest(version.id, tenant.id)
        versions.append(UUID(str(version.id)))
    return actor, project, versions
