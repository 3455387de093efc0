"""REST endpoints of pipelines and their runs."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from compute.jobs import request_body
from models_app.models import RunState
from models_app.pipelines import pipelines, reading
from tenants.errors import Invalid
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView

STATE = OpenApiParameter("state", str, enum=[str(one) for one in RunState.values])


class PipelineRequestSerializer(serializers.Serializer[Any]):
    """A pipeline to save. What is left out of a change stays."""

    name = serializers.CharField(max_length=80, required=False)
    project = serializers.CharField(required=False, help_text="Id or slug; `default` unless given. It never changes")
    steps = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        help_text="Steps with `name`, `kind`, `with`, `needs`, `when`, `retries`, `each`, `at_once` and `on_failure`; see the page on pipelines",
    )
    cap = serializers.CharField(
        required=False, allow_null=True, help_text="The most that the jobs of one run may spend, such as 25.00"
    )


class PipelineSerializer(serializers.Serializer[Any]):
    """A pipeline."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    project_id = serializers.UUIDField()
    project = serializers.CharField()
    steps = serializers.ListField(child=serializers.DictField())
    cap = MoneySerializer(allow_null=True)
    version = serializers.IntegerField(help_text="Grows with each change")
    created_by_label = serializers.CharField()
    created_at = serializers.DateTimeField()
    changed_at = serializers.DateTimeField()


class RunSerializer(serializers.Serializer[Any]):
    """A run of a pipeline."""

    id = serializers.UUIDField()
    pipeline_id = serializers.UUIDField()
    pipeline = serializers.CharField()
    project_id = serializers.UUIDField()
    project = serializers.CharField()
    version = serializers.IntegerField(help_text="Of the pipeline's definition")
    trigger = serializers.CharField(help_text="What launched it: person or schedule")
    state = serializers.CharField(help_text="running, succeeded, failed or cancelled")
    reason = serializers.CharField(help_text="Why it failed, or what it waits for")
    job_set = serializers.UUIDField(help_text="The set of its jobs; not found before its first job")
    cap = MoneySerializer(allow_null=True)
    launched_by_label = serializers.CharField()
    launched_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class TrySerializer(serializers.Serializer[Any]):
    """A try of a step for one of its items."""

    item = serializers.IntegerField()
    number = serializers.IntegerField()
    state = serializers.CharField(help_text="running, succeeded or failed")
    job = serializers.UUIDField(allow_null=True)
    message = serializers.CharField()
    outputs = serializers.DictField()
    set_aside = serializers.BooleanField(help_text="It failed, and the run was retried since")
    began_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class StepSerializer(serializers.Serializer[Any]):
    """A step of a run."""

    name = serializers.CharField()
    kind = serializers.CharField()
    needs = serializers.ListField(child=serializers.CharField())
    state = serializers.CharField(help_text="waiting, running, succeeded, failed, skipped or not reached")
    tries = TrySerializer(many=True)


class RunDetailSerializer(RunSerializer):
    """A run with its steps."""

    spent = MoneySerializer(allow_null=True, help_text="By its jobs so far")
    steps = StepSerializer(many=True)


class Pipelines(ApiView):
    """Pipelines of the tenant."""

    permissions = {"GET": "jobs.view", "POST": "jobs.launch"}

    @extend_schema(operation_id="pipelines_list", parameters=PAGE, responses=page_of(PipelineSerializer))
    def get(self, request: Request) -> Response:
        """List pipelines, newest first."""
        rows = reading.pipeline_list(self.actor, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, PipelineSerializer, lambda row: [row.id])

    @extend_schema(request=PipelineRequestSerializer, responses={201: PipelineSerializer})
    def post(self, request: Request) -> Response:
        """Save a pipeline. A wrong definition is refused with the step and the field, such as `steps.train.needs`."""
        body = self.body()
        row = pipelines.create(
            actor=self.actor,
            project_id=request_body.project_of(body.get("project", "default")),
            name=_text(body, "name"),
            steps={"steps": body.get("steps")},
            cap=_cap(body.get("cap")),
        )
        return Response(PipelineSerializer(reading.pipeline(self.actor, row.id)).data, status=201)


class OnePipeline(ApiView):
    """One pipeline."""

    permissions = {"GET": "jobs.view", "PATCH": "jobs.launch", "DELETE": "jobs.launch"}

    @extend_schema(operation_id="pipelines_retrieve", responses=PipelineSerializer)
    def get(self, request: Request, pipeline_id: UUID) -> Response:
        """Return one pipeline."""
        return Response(PipelineSerializer(reading.pipeline(self.actor, pipeline_id)).data)

    @extend_schema(request=PipelineRequestSerializer, responses=PipelineSerializer)
    def patch(self, request: Request, pipeline_id: UUID) -> Response:
        """Change name, steps or cap. Runs that were launched before keep their definition."""
        body = self.body()
        if "project" in body:
            raise Invalid(fields={"project": ["A pipeline keeps its project. Save another one there."]})
        pipelines.change(
            actor=self.actor,
            pipeline_id=pipeline_id,
            name=_text(body, "name") if "name" in body else None,
            steps={"steps": body["steps"]} if "steps" in body else None,
            cap=_cap(body["cap"]) if "cap" in body else ...,
        )
        return Response(PipelineSerializer(reading.pipeline(self.actor, pipeline_id)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, pipeline_id: UUID) -> Response:
        """Remove the pipeline; its runs stay. Refused while a run is open, or a schedule launches it."""
        pipelines.remove(actor=self.actor, pipeline_id=pipeline_id)
        return Response(status=204)


class PipelineRuns(ApiView):
    """Runs of one pipeline."""

    permissions = {"GET": "jobs.view", "POST": "jobs.launch"}

    @extend_schema(operation_id="pipeline_runs_of_one_list", parameters=PAGE, responses=page_of(RunSerializer))
    def get(self, request: Request, pipeline_id: UUID) -> Response:
        """List the runs of a pipeline, newest first."""
        reading.pipeline(self.actor, pipeline_id)
        rows = reading.run_list(self.actor, pipeline_id=pipeline_id, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, RunSerializer, lambda row: [row.id])

    @extend_schema(request=None, responses={201: RunDetailSerializer})
    def post(self, request: Request, pipeline_id: UUID) -> Response:
        """Launch a run. Its first steps begin at once, or wait for room in the queue."""
        run = pipelines.launch(actor=self.actor, pipeline=pipeline_id)
        return Response(RunDetailSerializer(reading.run(self.actor, run.id)).data, status=201)


class Runs(ApiView):
    """Runs of all pipelines."""

    permissions = {"GET": "jobs.view"}

    @extend_schema(operation_id="pipeline_runs_list", parameters=[STATE, *PAGE], responses=page_of(RunSerializer))
    def get(self, request: Request) -> Response:
        """List runs, newest first."""
        state = request.query_params.get("state", "")
        if state and state not in RunState.values:
            raise Invalid(fields={"state": [f"Choose one of: {', '.join(RunState.values)}."]})
        rows = reading.run_list(self.actor, state=state, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, RunSerializer, lambda row: [row.id])


class OneRun(ApiView):
    """One run with its steps."""

    permissions = {"GET": "jobs.view"}

    @extend_schema(operation_id="pipeline_runs_retrieve", responses=RunDetailSerializer)
    def get(self, request: Request, run_id: UUID) -> Response:
        """Return one run with its steps and their tries."""
        return Response(RunDetailSerializer(reading.run(self.actor, run_id)).data)


class RunCancel(ApiView):
    """Cancels a run."""

    permissions = {"POST": "jobs.cancel"}

    @extend_schema(request=None, responses=RunDetailSerializer)
    def post(self, request: Request, run_id: UUID) -> Response:
        """Cancel the run and its open jobs; their seconds so far stay billed."""
        pipelines.cancel(actor=self.actor, run_id=run_id)
        return Response(RunDetailSerializer(reading.run(self.actor, run_id)).data)


class RunRetry(ApiView):
    """Goes on with a run."""

    permissions = {"POST": "jobs.launch"}

    @extend_schema(request=None, responses=RunDetailSerializer)
    def post(self, request: Request, run_id: UUID) -> Response:
        """Go on with a run that failed, or was cancelled, from the steps that failed; what succeeded is kept."""
        pipelines.retry(actor=self.actor, run_id=run_id)
        return Response(RunDetailSerializer(reading.run(self.actor, run_id)).data)


def _text(body: dict[str, Any], name: str) -> str:
    value = body.get(name, "")
    if not isinstance(value, str):
        raise Invalid(fields={name: ["Give a text."]})
    return value


def _cap(value: Any) -> Any:
    try:
        return request_body.amount(value)
    except Invalid as wrong:
        raise Invalid(fields={"cap": wrong.fields["max_cost"]}) from None
