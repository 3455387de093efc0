"""A tenant with a preset and a pipeline to be scheduled, and the sweep that launches them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from django.test import Client

from compute.models import Job
from models_app.models import Pipeline, Preset, Schedule, ScheduleRun
from models_app.pipelines import pipelines
from models_app.presets import presets
from models_app.schedules import firing
from tenants.isolation.scoping import tenant_scope
from tenants.models import Notification, Tenant
from tests.api.objects import launchable
from tests.api.test_matrix import call
from tests.support import factories

API = "/api/v1/schedules/"
#: A Monday, before 6:00 in Zurich.
MONDAY = datetime(2027, 2, 1, 3, 0, tzinfo=UTC)


class World:
    """A tenant whose engineer has schedules; its clock is moved by the test."""

    def __init__(self) -> None:
        self.tenant: Tenant = factories.make_tenant()
        self.job = launchable(self.tenant)
        self.owner = factories.make_member(self.tenant, "owner")
        self.engineer = factories.make_member(self.tenant, "engineer")
        self.client = Client()
        self.client.force_login(self.engineer)
        launch = {key: value for key, value in self.job.items() if key not in ("name", "project")}
        actor = factories.actor_for(self.tenant)
        with tenant_scope(self.tenant.id):
            ScheduleRun.objects.all().delete()
            Schedule.objects.all().delete()
            project_id = factories.default_project_id(self.tenant)
            self.preset: Preset = presets.create(actor=actor, project_id=project_id, name="nightly", launch=launch)
            train = {key: launch[key] for key in ("recipe", "dataset", "params", "max_seconds")}
            steps = [{"name": "train", "kind": "train", "with": train}]
            self.pipeline: Pipeline = pipelines.create(
                actor=actor, project_id=project_id, name="round", steps={"steps": steps}
            )

    def send(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        answer = call(self.client, method, f"{API}{path}", body or {})
        assert answer.status_code == status, answer.content
        return answer.json() if answer.content else {}

    def save(self, **fields: Any) -> str:
        """Save a daily schedule at 6:00 in Zurich, of the preset unless another thing is given; return its id."""
        body = {"name": "daily", "cron": "0 6 * * *", "zone": "Europe/Zurich", **fields}
        if "pipeline" not in body:
            body |= {"preset": str(self.preset.id)}
        made: str = self.send("POST", "", body, 201)["id"]
        return made

    def one(self, schedule_id: str) -> Any:
        return self.send("GET", f"{schedule_id}/")

    def runs(self, schedule_id: str) -> list[tuple[str, str]]:
        """Return hour and outcome of each tick, oldest first."""
        found = self.send("GET", f"{schedule_id}/runs/")["results"]
        return [(row["due_at"][5:16], row["outcome"]) for row in reversed(found)]

    def reasons(self, schedule_id: str) -> list[str]:
        return [row["reason"] for row in reversed(self.send("GET", f"{schedule_id}/runs/")["results"])]

    def end_jobs(self, state: str = "succeeded") -> None:
        with tenant_scope(self.tenant.id):
            Job.objects.filter(id__in=ScheduleRun.objects.values("job_id")).update(
                state=state, cause="user_error" if state == "failed" else ""
            )

    def jobs(self) -> int:
        with tenant_scope(self.tenant.id):
            return Job.objects.filter(name="nightly").count()

    def titles(self, user: Any) -> list[str]:
        with tenant_scope(self.tenant.id):
            rows = Notification.objects.filter(user_id=user.id, kind__startswith="schedule_").order_by("id")
            return list(rows.values_list("title", flat=True))

    def row(self, schedule_id: str) -> Schedule:
        with tenant_scope(self.tenant.id):
            return Schedule.objects.get(id=schedule_id)


def fire(as_control: Any) -> int:
    """Look at what is due, as the controller does."""
    with as_control():
        return firing.fire_all()
