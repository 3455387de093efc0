"""From data to predictions in one organisation: trained and approved versions, a batch, an endpoint."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from compute.jobs import jobs
from compute.models import Job
from config.demo import attempts, serving, weekly
from config.demo.company import Company, quote
from models_app.models import Stage
from models_app.registry import registry
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
        """Run the weekly round, once there is a model to compare with."""
        if self.endpoint is not None:
            weekly.run(self._of, TRAINING_S, ALIKE)

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
