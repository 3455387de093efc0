"""A tenant with a fortnight of history, made through the real operations on a clock that the builder moves.

Nothing trains here: the builder uses the leases' protocol as a node would, so that jobs, seconds, money, logs, metrics
and audit entries are those of the product. The tables are real ones.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import tempfile
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

import psycopg

from billing.budgets import budgets
from billing.pricing.price_books import price_at
from billing.queries.invoices import draft_invoice
from compute.devices.base import Found
from compute.fleet import fleet, nodes
from compute.jobs import jobs
from compute.leases import leases
from compute.models import Device, Job, Node, Outcome
from compute.sandbox.protocol import Metric
from compute.scheduling import assign
from models_app.models import Dataset, DatasetVersion, Endpoint, ModelVersion
from models_app.object_store.storage import Stored
from models_app.recipes.base import recipe
from models_app.registry import registration, registry
from models_app.runner_protocol import Context, Reporter
from models_app.tables.reader import ingest
from tenants import operations, quotas
from tenants.access.actor import Actor
from tenants.access.operator_roles import OPERATOR_ROLES
from tenants.encryption import platform_secrets
from tenants.grants import grants as rights
from tenants.grants import groups, roles, service_accounts
from tenants.identity import api_keys, invitations, members
from tenants.identity.providers import configuration, domains, group_claims, scim_tokens
from tenants.isolation.scoping import tenant_scope
from tenants.models import ExternalIdentity, Tenant, User
from tenants.notifications import notifications
from tenants.operators import grants, tenant_metrics
from tenants.operators.operator import Operator
from tenants.operators.platform_events import webhooks as platform_webhooks
from tenants.webhooks import webhooks
from tests.browser.money import spend_and_limit
from tests.browser.serving import baseline_of_cancer, run_pipeline, serve
from tests.support import factories, selling
from tests.support.datasets import csv_bytes

NOW = datetime(2026, 11, 21, 14, 30, tzinfo=UTC)
OWNER = "ada@vision.example"
OPERATOR = "root@platform.example"
VIEWER = "vera@vision.example"
ENGINEER = "emil@vision.example"
NEWCOMER = "otto@audio.example"
BEAT_S = 20
Control = Callable[[], AbstractContextManager[None]]


@dataclass
class World:
    """What tests need to find the pages of the filled tenant (`vision`) and of the empty one (`audio`)."""

    vision: Tenant
    audio: Tenant
    ids: dict[str, Any] = field(default_factory=dict)


class Builder:
    """Makes the world; `admin` may move the clock, `control` provides the controller's role."""

    def __init__(self, admin: psycopg.Connection, control: Control) -> None:
        self.admin = admin
        self.control = control
        self.boot = uuid.uuid4()

    def build(self) -> World:
        """Make both tenants and everything in them; the clock then stands at NOW."""
        self.at(NOW - timedelta(days=13, hours=6))
        vision = factories.make_tenant("vision", timezone="Europe/Berlin", owner=OWNER)
        audio = factories.make_tenant("audio", owner=NEWCOMER, contract=False)
        User.objects.filter(email=OWNER).update(name="Ada Byron")
        world = World(vision, audio)
        owner = self.actor(vision, OWNER)
        research = operations.create_project(actor=owner, slug="research", name="Research")
        members.add_member(actor=owner, email=VIEWER, role="viewer", password=factories.PASSWORD)
        api_keys.create_api_key(actor=owner, name="ci-nightly", scopes=["jobs.view", "jobs.launch"])
        quotas.set_limit(actor=owner, resource="devices:cpu", limit=4)
        budgets.create_budget(actor=owner, amount=second_price(vision) * 10_000, at_limit="block_new", alerts=[50, 80])
        found = [Found(f"cpu-{n}", "cpu", "cpu", f"CPU {n} of host atlas", n, 16 * 2**30) for n in range(4)]
        nodes.register(name="atlas", hostname="atlas", boot=self.boot, found=found, missing_layers=[])
        spare = [Found("cpu-0", "cpu", "cpu", "CPU 0 of host borealis", 0, 8 * 2**30)]
        nodes.register(
            name="borealis", hostname="borealis", boot=uuid.uuid4(), found=spare, missing_layers=["own network"]
        )
        cancer = self.dataset(vision, "breast-cancer", "breast_cancer")
        diabetes = self.dataset(vision, "diabetes", "diabetes")
        world.ids |= {"dataset": cancer.dataset_id, "dataset_version": cancer.id, "vision": vision.id}
        world.ids["project"] = research.id
        default = factories.default_project_id(vision)
        runs = [
            (12, "cancer-baseline", default, cancer, "tabular.classifier", 260),
            (10, "diabetes-first", research.id, diabetes, "tabular.regressor", 120),
            (9, "cancer-wide", default, cancer, "tabular.classifier", 420),
            (6, "cancer-deep", research.id, cancer, "tabular.classifier", 610),
            (4, "diabetes-tuned", research.id, diabetes, "tabular.regressor", 200),
            (2, "cancer-dropout", default, cancer, "tabular.classifier", 340),
            (0.04, "cancer-final", research.id, cancer, "tabular.classifier", 380),
        ]
        for days, name, project, data, kind, seconds in runs:
            self.at(NOW - timedelta(days=days))
            done = self.submit(owner, name, project, data, kind)
            self.train(done, seconds)
            world.ids |= {"succeeded": done.id}
            if name == "cancer-deep":
                served = done
        world.ids["endpoint"] = serve(self, owner, served, NOW - timedelta(hours=8))
        with tenant_scope(vision.id):
            live = Endpoint.objects.get(id=world.ids["endpoint"]).version_id
        world.ids |= run_pipeline(owner, research.id, live)
        self.at(NOW - timedelta(hours=5))
        scored = self.batch(owner, "cancer-november", default, cancer, world.ids["succeeded"])
        self.at(NOW - timedelta(hours=3))
        failed = self.submit(owner, "cancer-exploding", default, cancer, "tabular.classifier", learning_rate=0.9)
        self.fail(failed)
        self.at(NOW - timedelta(minutes=9))
        cancelled = self.submit(owner, "wrong-target", default, cancer, "tabular.classifier")
        jobs.cancel(actor=owner, job_id=cancelled.id, reason="Chose the wrong column.")
        world.ids |= spend_and_limit(self, owner, research.id, world.ids["endpoint"])
        self.at(NOW - timedelta(seconds=170))
        running = self.submit(owner, "cancer-nightly", research.id, cancer, "tabular.classifier")
        self.train(running, 150, end=False)
        self.at(NOW - timedelta(seconds=5))
        queued = self.submit(owner, "diabetes-waiting", default, diabetes, "tabular.regressor")
        with tenant_scope(vision.id):
            world.ids["version"] = Job.objects.get(id=world.ids["succeeded"]).result["model_version"]
            versions = ModelVersion.objects.filter(recipe="tabular.classifier").exclude(id=world.ids["version"])
            world.ids["other_version"] = versions.order_by("id")[0].id
            world.ids["model"] = Job.objects.get(id=world.ids["succeeded"]).result["model"]
            world.ids["invoice"] = draft_invoice().id
        self.ask(vision, world.ids["version"])
        world.ids |= self.give(owner, research.id)
        world.ids |= {
            "batch": scored.id,
            "failed": failed.id,
            "running": running.id,
            "queued": queued.id,
            "cancelled": cancelled.id,
        }
        self.at(NOW)
        self.beat_node()
        world.ids |= self.run_the_platform(vision)
        return world

    def give(self, owner: Actor, research: uuid.UUID) -> dict[str, uuid.UUID]:
        """Make a role, a group with the engineer that manages a project's budgets, and a service account with a key."""
        role = roles.create_role(actor=owner, name="Launcher", permissions=["jobs.launch", "jobs.view"])
        group = groups.create_group(actor=owner, name="Vision lab")
        groups.add_member(actor=owner, group_id=group.id, user_id=User.objects.get(email=ENGINEER).id)
        grant = rights.give(actor=owner, holder=rights.Holder(group_id=group.id), role="finance", project_id=research)
        account = service_accounts.create_service_account(actor=owner, name="nightly-scoring")
        rights.give(actor=owner, holder=rights.Holder(service_account_id=account.id), role=role.id)
        api_keys.create_api_key(actor=owner, name="scoring", scopes=["jobs.view"], service_account_id=account.id)
        connect_provider(owner)
        hook = webhooks.create_webhook(actor=owner, name="pager", url="https://hooks.example/x", types=["job.failed"])
        webhooks.send_test(actor=owner, webhook_id=hook.webhook.id)
        return {"role": role.id, "group": group.id, "grant": grant.id, "webhook": hook.webhook.id}

    def run_the_platform(self, vision: Tenant) -> dict[str, Any]:
        """Make an operator, who cordons the silent host's device and has a webhook; notify the members of something."""
        device = Device.objects.get(node__name="borealis")
        with self.control():
            for role in OPERATOR_ROLES:
                grants.grant(OPERATOR, role, password=factories.PASSWORD)
            tenant_metrics.refresh()
            user = User.objects.get(email=OPERATOR)
            operator = Operator(id=user.id, label=user.email, roles=tuple(OPERATOR_ROLES))
            fleet.cordon(operator=operator, device_id=device.id, reason="Fan fails, replacement ordered")
            platform_secrets.provide()
        with selling.role("exchequer_operator"):
            hook = platform_webhooks.create(
                operator=operator, name="on-call", url="https://hooks.example/x", types=["node.lost"]
            )
            platform_webhooks.send_test(operator=operator, webhook_id=hook.webhook.id)
        invitations.invite(actor=self.actor(vision, OWNER), email="nora@vision.example", role="engineer")
        with tenant_scope(vision.id):
            notifications.notify(
                permission="budgets.manage",
                kind="budget_alert",
                title="The budget of Vision is 50 % spent",
                body="At this pace it lasts to the end of the month.",
                path="dash/spend/",
            )
        return {"platform_webhook": hook.webhook.id}

    def at(self, moment: datetime) -> None:
        """Set the clock, as an offset, so that it continues from there."""
        set_clock(self.admin, moment)

    def later(self, seconds: float) -> None:
        """Move the clock on."""
        self.admin.execute("UPDATE demo_clock SET shift = shift + %s", [timedelta(seconds=seconds)])

    def actor(self, tenant: Tenant, email: str, role: str = "owner") -> Actor:
        """Return a member as an actor."""
        user = User.objects.get(email=email)
        actor = Actor.member(tenant_id=tenant.id, user_id=user.id, email=email, role=role)
        return replace(actor, ip="192.0.2.10", request_id="7f3a9c")

    def dataset(self, tenant: Tenant, name: str, table: str) -> DatasetVersion:
        """Store a ready version of a real table with its real profile; its file is in no store."""
        result, profile = ingested(table)
        with tenant_scope(tenant.id):
            owner = Dataset.objects.create(name=name, created_by_label=OWNER)
            return DatasetVersion.objects.create(
                dataset=owner, number=1, filename=f"{table}.csv", sha256=result["source_sha256"], size=len(csv_bytes(table)), target="target",
                state="ready", source_key=f"t/{tenant.id}/u/{uuid.uuid4()}", data_key=f"t/{tenant.id}/d/{uuid.uuid4()}", data_sha256="0" * 64,
                data_size=1, rows=result["rows"], columns=result["columns"], warnings=result["warnings"], profile=profile,
                reading=result.get("reading", {}), uploaded_by_label=OWNER,
            )  # fmt: skip

    def submit(
        self, actor: Actor, name: str, project: uuid.UUID, data: DatasetVersion, kind: str, **params: Any
    ) -> Job:
        """Launch a training job as the form does."""
        spec: Mapping[str, Any] = {
            "recipe": kind,
            "dataset_version": str(data.id),
            "target": "target",
            "params": params,
            "model": name.split("-", maxsplit=1)[0],
        }
        return jobs.submit(
            actor=actor,
            asked=jobs.Submission(
                name=name,
                kind="train",
                project_id=project,
                spec=spec,
                device_class="cpu",
                max_seconds=1800,
                max_cost=None,
            ),
        )

    def claim(self, job: Job) -> leases.Claim:
        """Assign the job and claim it, as controller and node do."""
        self.beat_node()
        with self.control():
            dispatches = assign.assign_all()
        dispatch = next(dispatch for dispatch in dispatches if dispatch.tenant_id == job.tenant_id)
        self.later(1.2)
        mine = leases.claim(
            tenant_id=job.tenant_id,
            attempt_id=dispatch.attempt_id,
            token=dispatch.token,
            node=dispatch.node,
            boot=self.boot,
        )
        assert mine is not None
        return mine

    def beat_node(self) -> None:
        """Refresh the node's heartbeat."""
        node = Node.objects.get(name="atlas")
        nodes.alive(nodes.Registered(node.id, node.name, self.boot))

    def train(self, job: Job, seconds: int, *, end: bool = True) -> None:
        """Run an attempt for `seconds` of the clock with losses, logs and samples; with `end`, register its model."""
        mine = self.claim(job)
        epochs = job.spec["params"]["epochs"]
        leases.heartbeat(
            mine,
            leases.Heartbeat(
                elapsed=0.0,
                layers=[],
                logs=[(1, "staged data.parquet"), (2, "device cpu, 1 thread"), (3, "training starts")],
            ),
        )
        elapsed, step, line = 0, 0, 4
        while elapsed < seconds:
            self.later(BEAT_S)
            elapsed += BEAT_S
            upto = max(step + 1, math.floor(epochs * min(1.0, elapsed / (seconds if end else seconds * 2))))
            points = [Metric(n, _values(n, epochs)) for n in range(step + 1, upto + 1)]
            logs = [
                (
                    line,
                    f"epoch {upto} of {epochs}: train_loss {points[-1].values['train_loss']:.4f}, val_loss {points[-1].values['val_loss']:.4f}",
                )
            ]
            step, line = upto, line + 1
            left = (epochs - step) * elapsed / max(1, step)
            progress = {"phase": "training", "done": step, "total": epochs, "eta_s": round(left, 1)}
            busy = 0.72 + 0.2 * math.sin(elapsed / 90)
            leases.heartbeat(
                mine,
                leases.Heartbeat(
                    elapsed=float(elapsed),
                    progress=progress,
                    metrics=points,
                    logs=logs,
                    samples=[leases.Sample(float(BEAT_S), busy, 2**28)],
                ),
            )
        if end:
            leases.finish(
                mine,
                Outcome.SUCCEEDED,
                leases.Heartbeat(elapsed=float(elapsed)),
                exit_code=0,
                complete=lambda view: self.register(job, mine),
            )

    def batch(self, actor: Actor, name: str, project: uuid.UUID, data: DatasetVersion, trained: uuid.UUID) -> Job:
        """Predict a dataset with a job's version: two minutes of the clock, files in no store."""
        with tenant_scope(actor.tenant_id):
            version = Job.objects.get(id=trained).result["model_version"]
        job = jobs.submit(
            actor=actor,
            asked=jobs.Submission(
                name=name,
                kind="batch_predict",
                project_id=project,
                device_class="cpu",
                max_seconds=1800,
                max_cost=None,
                spec={"model_version": version, "dataset_version": str(data.id)},
            ),
        )
        mine = self.claim(job)
        leases.heartbeat(mine, leases.Heartbeat(elapsed=0.0, layers=[], logs=[(1, f"{data.rows:,} rows to predict")]))
        for elapsed in range(BEAT_S, 121, BEAT_S):
            self.later(BEAT_S)
            progress = {
                "phase": "predicting",
                "done": data.rows * elapsed // 120,
                "total": data.rows,
                "eta_s": 120 - elapsed,
            }
            leases.heartbeat(mine, leases.Heartbeat(elapsed=float(elapsed), progress=progress))
        files = {
            form: Stored(f"t/{job.tenant_id}/j/{job.id}/1/{uuid.uuid4()}", "cd" * 32, 20_480).to_json()
            for form in ("parquet", "csv")
        }
        leases.finish(
            mine, Outcome.SUCCEEDED, leases.Heartbeat(elapsed=120.0), exit_code=0,
            complete=lambda view: {"rows": data.rows, "files": files},
        )  # fmt: skip
        return job

    def ask(self, tenant: Tenant, version_id: str) -> None:
        """Request production as an engineer, who may not approve it."""
        members.add_member(
            actor=self.actor(tenant, OWNER), email=ENGINEER, role="engineer", password=factories.PASSWORD
        )
        registry.promote(
            actor=self.actor(tenant, ENGINEER, "engineer"), version_id=uuid.UUID(version_id), stage="production"
        )

    def fail(self, job: Job) -> None:
        """Run an attempt that ends with a user error."""
        mine = self.claim(job)
        leases.heartbeat(mine, leases.Heartbeat(elapsed=0.0, logs=[(1, "training starts")]))
        self.later(12)
        logs = [
            (2, "epoch 1 of 150: train_loss nan, val_loss nan"),
            (3, "the loss is not a number: learning rate 0.9 is too high"),
        ]
        leases.finish(
            mine,
            Outcome.USER_ERROR,
            leases.Heartbeat(elapsed=12.0, logs=logs),
            message="The loss became NaN in epoch 1. Lower the learning rate.",
            exit_code=65,
        )

    def register(self, job: Job, mine: leases.Claim) -> dict[str, Any]:
        """Register the model version that the attempt made."""
        chosen = recipe(job.spec["recipe"])
        classes = chosen.task == "classification"
        metrics: dict[str, Any] = (
            {"accuracy": 0.9720, "balanced_accuracy": 0.9684, "log_loss": 0.0812, "confusion": [[51, 2], [2, 88]]}
            if classes
            else {"r2": 0.4813, "mae": 43.2, "rmse": 53.9}
        )
        names = [column["name"] for column in DatasetVersion.objects.get(id=job.spec["dataset_version"]).columns][:-1]
        shares = [0.31 * 0.8**at - 0.004 for at in range(len(names))]
        metrics["importance"] = {
            "figure": "accuracy" if classes else "r2", "base": 0.97 if classes else 0.48, "rows": 143, "repeats": 3, "seed": 42,
            "not_measured": 0, "columns": [{"name": name, "drop": drop, "std": 0.01} for name, drop in zip(names, shares, strict=True)],
        }  # fmt: skip
        signature = {
            "inputs": [{"name": name, "kind": "numeric"} for name in names],
            "target": {"name": "target", "kind": "numeric"},
            "classes": ["0", "1"] if classes else [],
        }
        stored = Stored(f"t/{job.tenant_id}/m/{uuid.uuid4()}", "ab" * 32, 48_212)
        actor = Actor.system(job.tenant_id, "node atlas")
        version = registration.register(
            actor=actor,
            trained=registration.Trained(
                model=job.spec["model"], job_id=job.id, attempt_id=mine.attempt_id, project_id=job.project_id, submitted_by=job.submitted_by,
                dataset_version_id=uuid.UUID(job.spec["dataset_version"]), recipe=chosen.id, recipe_version=chosen.version, recipe_digest=chosen.digest(),
                params=job.spec["params"], metrics=metrics, training={"epochs": 96, "rows": {"train": 341, "validation": 85, "test": 143}}, signature=signature, baseline=baseline_of_cancer() if classes else {}, weights=stored, signature_file=stored,
            ),
        )  # fmt: skip
        return {
            "model": str(version.model_id),
            "model_version": str(version.id),
            "metrics": {name: value for name, value in metrics.items() if isinstance(value, float)},
        }


def second_price(tenant: Tenant, tier: str = "on_demand") -> Decimal:
    """Return the current price per second of the host's device, the unit of the world's amounts."""
    with tenant_scope(tenant.id):
        return price_at("device_seconds", {"device_class": "cpu", "tier": tier}).unit_amount


@cache
def ingested(table: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the result and the profile of a real table, made by the code that the sandbox runs."""
    with tempfile.TemporaryDirectory() as folder:
        workdir = Path(folder)
        (workdir / "in").mkdir()
        (workdir / "in" / "source").write_bytes(csv_bytes(table))
        ingest.run(
            Context(
                workdir=workdir,
                job={"inputs": {"target": "target"}, "limits": {}},
                report=Reporter(io.StringIO()),
                stopping=lambda: False,
            )
        )
        result = json.loads((workdir / "out" / "result.json").read_text())
        profile = json.loads((workdir / "out" / "profile.json").read_text())
    return {**result, "source_sha256": hashlib.sha256(csv_bytes(table)).hexdigest()}, profile


def _values(step: int, epochs: int) -> dict[str, float]:
    share = step / epochs
    train = 0.08 + 0.62 * math.exp(-5 * share) + 0.012 * math.sin(step * 1.7)
    val = 0.11 + 0.60 * math.exp(-4.4 * share) + 0.018 * math.sin(step * 1.1 + 1) + 0.05 * share**2
    return {
        "train_loss": round(train, 5),
        "val_loss": round(val, 5),
        "val_accuracy": round(0.97 - 0.35 * math.exp(-6 * share), 5),
    }


def set_clock(admin: psycopg.Connection, moment: datetime) -> None:
    """Set the clock of the database to `moment`; it continues from there."""
    admin.execute("DELETE FROM demo_clock")
    admin.execute("INSERT INTO demo_clock (shift) VALUES (%s - clock_timestamp())", [moment])


def connect_provider(owner: Actor) -> None:
    """Connect a provider: a proven domain and one that is not, a token, a group, a linked person."""
    provider = configuration.save(
        actor=owner,
        wanted=configuration.Wanted(
            kind="oidc",
            name="Riverside directory",
            issuer="https://login.riverside.example",
            client_id="exchequer",
            client_secret="a client secret",
            groups_claim="groups",
        ),
    )
    proven = domains.add(actor=owner, name="riverside.example")
    domains.prove(actor=owner, domain_id=proven.id, records=[domains.row_of(proven).record_text])
    domains.add(actor=owner, name="labs.riverside.example")
    scim_tokens.create(actor=owner, name="directory-provisioning")
    group = groups.create_group(actor=owner, name="Radiology")
    group_claims.map_group(actor=owner, group_id=group.id, claim="grp-radiology")
    person = User.objects.get(id=owner.id)
    with tenant_scope(owner.tenant_id):
        ExternalIdentity.objects.create(provider=provider, subject="00u8d1f2", user=person, email=person.email)
