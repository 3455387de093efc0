"""REST endpoints of schedules and their runs."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from models_app.models import Missed, Overlap, TickOutcome
from models_app.schedules import reading, schedules
from tenants.errors import Invalid
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView

OVERLAP = "When the run before has not ended: `skip` the tick, `queue` it until then (one waits), or `allow` both"
MISSED = "When Exchequer was not running at a tick: launch the `latest` of them, or `none`"


class ScheduleRequestSerializer(serializers.Serializer[Any]):
    """A schedule to save. What is left out of a change stays."""

    name = serializers.CharField(max_length=80, required=False)
    cron = serializers.CharField(
        max_length=100,
        required=False,
        help_text="Minute, hour, day of month, month, day of week, such as `0 6 * * 1`; at least 5 minutes apart",
    )
    zone = serializers.CharField(
        max_length=64, required=False, help_text="Such as Europe/Zurich; the organisation's unless given"
    )
    preset = serializers.UUIDField(required=False, help_text="What it launches: this, or `pipeline`")
    pipeline = serializers.UUIDField(required=False)
    overlap = serializers.ChoiceField(Overlap.values, required=False, help_text=OVERLAP)
    missed = serializers.ChoiceField(Missed.values, required=False, help_text=MISSED)


class ScheduleSerializer(serializers.Serializer[Any]):
    """A schedule."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    project_id = serializers.UUIDField()
    project = serializers.CharField()
    cron = serializers.CharField()
    words = serializers.CharField(help_text="The expression in words")
    zone = serializers.CharField()
    preset_id = serializers.UUIDField(allow_null=True)
    pipeline_id = serializers.UUIDField(allow_null=True)
    launches = serializers.CharField(help_text="The name of its preset or pipeline")
    overlap = serializers.CharField(help_text=OVERLAP)
    missed = serializers.CharField(help_text=MISSED)
    paused = serializers.BooleanField()
    paused_reason = serializers.CharField()
    next_at = serializers.DateTimeField(allow_null=True, help_text="Null while it is paused")
    refusals = serializers.IntegerField(help_text="Launches refused in a row; after 5 it pauses itself")
    runs_as_label = serializers.CharField(help_text="With whose rights it launches")
    last_outcome = serializers.CharField(help_text="Of its newest run; empty without one")
    last_due_at = serializers.DateTimeField(allow_null=True)
    created_by_label = serializers.CharField()
    created_at = serializers.DateTimeField()
    changed_at = serializers.DateTimeField()


class ScheduleRunSerializer(serializers.Serializer[Any]):
    """What came of one tick of a schedule."""

    id = serializers.UUIDField()
    due_at = serializers.DateTimeField()
    outcome = serializers.CharField(help_text=", ".join(TickOutcome.values))
    reason = serializers.CharField()
    job_id = serializers.UUIDField(allow_null=True)
    pipeline_run_id = serializers.UUIDField(allow_null=True)
    work = serializers.CharField(help_text="Name of the job or of the run's pipeline; empty without one")
    state = serializers.CharField(help_text="Of the job or the run; empty without one")
    cost = MoneySerializer(allow_null=True, help_text="Of the job or the run so far")
    asked_by_label = serializers.CharField(help_text="Who launched it without a tick; empty for a tick")
    noted_at = serializers.DateTimeField()


class Schedules(ApiView):
    """Schedules of the tenant."""

    permissions = {"GET": "jobs.view", "POST": "jobs.launch"}

    @extend_schema(operation_id="schedules_list", parameters=PAGE, responses=page_of(ScheduleSerializer))
    def get(self, request: Request) -> Response:
        """List schedules, newest first."""
        rows = reading.schedule_list(self.actor, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, ScheduleSerializer, lambda row: [row.id])

    @extend_schema(request=ScheduleRequestSerializer, responses={201: ScheduleSerializer})
    def post(self, request: Request) -> Response:
        """Save a schedule of a preset or a pipeline, in its project. It launches with your rights of each tick."""
        row = schedules.create(actor=self.actor, wanted=_wanted(self.body()))
        return Response(ScheduleSerializer(reading.schedule(self.actor, row.id)).data, status=201)


class OneSchedule(ApiView):
    """One schedule."""

    permissions = {"GET": "jobs.view", "PATCH": "jobs.launch", "DELETE": "jobs.launch"}

    @extend_schema(operation_id="schedules_retrieve", responses=ScheduleSerializer)
    def get(self, request: Request, schedule_id: UUID) -> Response:
        """Return one schedule."""
        return Response(ScheduleSerializer(reading.schedule(self.actor, schedule_id)).data)

    @extend_schema(request=ScheduleRequestSerializer, responses=ScheduleSerializer)
    def patch(self, request: Request, schedule_id: UUID) -> Response:
        """Change what is given. From then on it launches with your rights."""
        schedules.change(actor=self.actor, schedule_id=schedule_id, wanted=_wanted(self.body()))
        return Response(ScheduleSerializer(reading.schedule(self.actor, schedule_id)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, schedule_id: UUID) -> Response:
        """Remove the schedule and its history; the jobs and runs that it launched stay."""
        schedules.remove(actor=self.actor, schedule_id=schedule_id)
        return Response(status=204)


class SchedulePause(ApiView):
    """Pauses a schedule."""

    permissions = {"POST": "jobs.launch"}

    @extend_schema(request=None, responses=ScheduleSerializer)
    def post(self, request: Request, schedule_id: UUID) -> Response:
        """Pause the schedule. A run that waits is skipped; what runs goes on."""
        schedules.pause(actor=self.actor, schedule_id=schedule_id)
        return Response(ScheduleSerializer(reading.schedule(self.actor, schedule_id)).data)


class ScheduleResume(ApiView):
    """Resumes a schedule."""

    permissions = {"POST": "jobs.launch"}

    @extend_schema(request=None, responses=ScheduleSerializer)
    def post(self, request: Request, schedule_id: UUID) -> Response:
        """Go on from the next tick, with your rights; ticks of the pause are not launched."""
        schedules.resume(actor=self.actor, schedule_id=schedule_id)
        return Response(ScheduleSerializer(reading.schedule(self.actor, schedule_id)).data)


class ScheduleLaunch(ApiView):
    """Launches what a schedule launches."""

    permissions = {"POST": "jobs.launch"}

    @extend_schema(request=None, responses={201: ScheduleRunSerializer})
    def post(self, request: Request, schedule_id: UUID) -> Response:
        """Launch at once, with your rights. The schedule's ticks stay as they are."""
        run = schedules.launch_now(actor=self.actor, schedule_id=schedule_id)
        return Response(ScheduleRunSerializer(reading.run(self.actor, schedule_id, run.id)).data, status=201)


class ScheduleRuns(ApiView):
    """Runs of one schedule."""

    permissions = {"GET": "jobs.view"}

    @extend_schema(operation_id="schedule_runs_list", parameters=PAGE, responses=page_of(ScheduleRunSerializer))
    def get(self, request: Request, schedule_id: UUID) -> Response:
        """List what came of the schedule's ticks, newest first, for 90 days."""
        rows = reading.run_list(
            self.actor, schedule_id, before=self.before(datetime.fromisoformat), limit=self.page_size()
        )
        return self.paginated(rows, ScheduleRunSerializer, lambda row: [row.due_at])


def _wanted(body: dict[str, Any]) -> dict[str, Any]:
    """Return what a body asks for, with ids as UUIDs. Raises Invalid."""
    wanted: dict[str, Any] = {}
    faults: dict[str, list[str]] = {}
    if "project" in body:
        faults["project"] = ["A schedule is in the project of what it launches. Leave this out."]
    for name in schedules.TEXTS:
        if name in body:
            wanted[name] = body[name]
            if not isinstance(body[name], str):
                faults[name] = ["Give a text."]
    for name in schedules.TARGETS:
        if body.get(name) is not None:
            try:
                wanted[name] = UUID(str(body[name]))
            except ValueError:
                faults[name] = ["Give an id."]
    if faults:
        raise Invalid(fields=faults)
    return wanted
