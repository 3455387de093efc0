"""From data to predictions in one organisation: trained and approved versions, a batch, an endpoint."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from compute.jobs import jobs
from compute.models import Job
from config.demo import attempts, serving
from config.demo.company import Company, quote
from models_app.models import Stage, StepTry
from models_app.pipelines import advancing, pipelines
from models_app.registry import registry
from models_app.schedules import schedules
from tenants.clock import now
from tenants.isolation.scoping import tenant_scope

TRAINING_S, PREDICTING_S = 1_440, 420
ALIKE = 0.1
"""Standard deviation of the logarithm of their seconds."""


class Pipeline:
    """The models of one organisation; `span` is the length of its history."""

    def __init__(self, of: Company, span: timedelta) -> None:
        self._of = of
        self.span = span
        self.versions: list[UUID] = []
        self.approved: UUID | None = None
        self.endpoint: serving.DemoEndpoint | None = None

    def train(self, number: int) -> None:
        """Train a version for real, then request and approve it."""
        project, actor = self._of.one.service.project, self._of.first("engineer")
        with tenant_scope(self._of.tenant_id):
            name, params = f"{self._of.one.model}-{number + 1}", dict(self._of.one.params[number])
            job = self._of.submit(actor, name, project, params, 3 * TRAINING_S)
            quote(job, TRAINING_S, ALIKE)
        child = self._of.learned.versions[number]
        self._of.simulation.queue(
            job, attempts.real(job, child.result, TRAINING_S, partial(self._trained, number, job.id))
        )

    def _trained(self, number: int, job_id: UUID) -> None:
        with tenant_scope(self._of.tenant_id):
            version = UUID(Job.objects.get(id=job_id).result["model_version"])
        self.versions.append(version)
        actor = self._of.first("engineer")
        last = number + 1 == len(self._of.one.versions) > 1
        self._soon(0.01, lambda: registry.promote(actor=actor, version_id=version, stage=Stage.STAGING))
        # The newest one stays pending, so that approvers find it on their first day.
        self._soon(0.24 if last else 0.02, partial(self._request_production, version, answered=not last))

    def _request_production(self, version: UUID, *, answered: bool) -> None:
        registry.promote(actor=self._of.first("engineer"), version_id=version, stage=Stage.PRODUCTION)
        if answered:
            self._soon(0.005, partial(self._approve, version))

    def _approve(self, version: UUID) -> None:
        registry.approve(actor=self._of.first("admin"), version_id=version)
        self.approved = version

    def predict(self) -> None:
        """Score the table that arrived with the first version."""
        if not self.versions:
            self._soon(0.01, self.predict)
            return
        actor = self._of.first("engineer")
        spec = {
            "model_version": str(self.versions[0]),
            "dataset_version": str(self._of.datasets[self._of.one.arriving]),
        }
        with tenant_scope(self._of.tenant_id):
            job = jobs.submit(
                actor=actor,
                asked=jobs.Submission(
                    name=f"{self._of.one.model}-over-{self._of.one.arriving}",
                    kind="batch_predict",
                    project_id=self._of.projects[self._of.one.service.project],
                    spec=spec,
                    device_class="cpu",
                    max_seconds=3600,
                ),
            )
            quote(job, PREDICTING_S, ALIKE)
        self._of.simulation.queue(
            job, attempts.real(job, self._of.learned.predicted.result, PREDICTING_S, lambda: None)
        )

    def deploy(self) -> None:
        """Deploy the approved version; its predictions for the arriving table are known from the batch."""
        if self.approved is None:
            self._soon(0.01, self.deploy)
            return
        served = serving.traffic(self._of.tables.arriving, self._of.learned.predicted.result())
        endpoint = serving.DemoEndpoint(self._of.one, self._of.first("engineer"), served, self._of.slots, self._of.seed)
        endpoint.deploy(self.approved)
        self.endpoint = endpoint

    def run_weekly(self) -> None:
        """Save the weekly round with its schedule, and run it: it trains again, and reports that what serves is as good."""
        if self.endpoint is None:
            return
        one, actor = self._of.one, self._of.first("engineer")
        trained, best = ({"from": step, "output": "model_version"} for step in ("train", "compare"))
        train = {
            "recipe": one.recipe,
            "dataset_version": str(self._of.datasets[one.dataset]),
            "params": dict(one.params[0]),
            "model": one.model,
            "max_seconds": 3 * TRAINING_S,
        }
        metric = "r2" if one.recipe.endswith("regressor") else "accuracy"
        live = {"metric": metric, "endpoint": one.service.name}
        better = {"step": "compare", "output": "better", "is": "=", "than": True}
        steps = [
            {"name": "train", "kind": "train", "with": train, "retries": 1},
            {"name": "compare", "kind": "compare", "with": {"model_version": trained, **live}},
            {
                "name": "deploy",
                "kind": "deploy",
                "when": better,
                "with": {"model_version": best, "endpoint": one.service.name},
            },
            {"name": "report", "kind": "report", "needs": ["compare"]},
        ]
        with tenant_scope(self._of.tenant_id):
            project_id = self._of.projects[one.service.project]
            made = pipelines.create(actor=actor, project_id=project_id, name="weekly", steps={"steps": steps})
            # Not due again while the demo is loaded.
            cron = f"0 6 * * {(now() - timedelta(days=2)).isoweekday()}"
            weekly = {"name": "weekly", "cron": cron, "pipeline": made.id}
            schedule = schedules.create(actor=actor, wanted=weekly)
            run = schedules.launch_now(actor=actor, schedule_id=schedule.id)
            job = Job.objects.filter(id__in=StepTry.objects.filter(run=run.pipeline_run_id).values("job_id")).first()
            if job is None:  # a budget refused it, and the run failed
                return
            quote(job, TRAINING_S, ALIKE)
        child = self._of.learned.versions[0]
        ended = partial(advancing.after_job, self._of.tenant_id, job.id)
        self._of.simulation.queue(job, attempts.real(job, child.result, TRAINING_S, ended))

    def answer(self, at: datetime, requests: int, *, moved: bool) -> None:
        """Answer a batch of requests, once there is an endpoint."""
        if self.endpoint is not None:
            self.endpoint.answer(at, requests, moved=moved)

    def end_day(self) -> None:
        """Send feedback, and renew the slot."""
        if self.endpoint is not None:
            self.endpoint.send_ground_truth()
            self.endpoint.renew()

    def _soon(self, part: float, act: Callable[[], object]) -> None:
        self._of.simulation.later((self.span * part).total_seconds(), act)
