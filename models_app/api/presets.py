"""REST endpoints of presets."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from compute.jobs import request_body
from models_app.presets import presets, reading
from tenants.errors import Invalid
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView


class PresetRequestSerializer(serializers.Serializer[Any]):
    """A preset to save. What is left out of a change stays."""

    name = serializers.CharField(max_length=120, required=False)
    project = serializers.CharField(required=False, help_text="Id or slug; `default` unless given. It never changes")
    launch = serializers.DictField(
        required=False,
        help_text="The body of a launch, as `POST /api/v1/jobs/` takes it, without `project` and `quote`",
    )


class PresetSerializer(serializers.Serializer[Any]):
    """A preset: a saved launch."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    project_id = serializers.UUIDField()
    project = serializers.CharField()
    launch = serializers.DictField(help_text="The body of a launch, without `max_cost`")
    max_cost = MoneySerializer(allow_null=True)
    created_by_label = serializers.CharField()
    created_at = serializers.DateTimeField()
    changed_at = serializers.DateTimeField()


class PresetLaunchSerializer(serializers.Serializer[Any]):
    """What this launch replaces of its preset."""

    name = serializers.CharField(required=False)
    device_class = serializers.CharField(required=False)
    devices = serializers.IntegerField(required=False)
    tier = serializers.CharField(required=False)
    max_seconds = serializers.IntegerField(required=False, allow_null=True)
    max_cost = serializers.CharField(required=False, allow_null=True)
    tags = serializers.DictField(child=serializers.CharField(), required=False)


class PresetLaunchedSerializer(serializers.Serializer[Any]):
    """The job that a preset launched."""

    job = serializers.UUIDField()
    state = serializers.CharField()


class Presets(ApiView):
    """Presets of the tenant."""

    permissions = {"GET": "jobs.view", "POST": "jobs.launch"}

    @extend_schema(operation_id="presets_list", parameters=PAGE, responses=page_of(PresetSerializer))
    def get(self, request: Request) -> Response:
        """List presets, newest first."""
        rows = reading.preset_list(self.actor, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, PresetSerializer, lambda row: [row.id])

    @extend_schema(request=PresetRequestSerializer, responses={201: PresetSerializer})
    def post(self, request: Request) -> Response:
        """Save a launch, checked as a launch is; it launches nothing. A fault has its field, such as `launch.recipe`."""
        body = self.body()
        row = presets.create(
            actor=self.actor,
            project_id=request_body.project_of(body.get("project", "default")),
            name=_name(body),
            launch=body.get("launch"),
        )
        return Response(PresetSerializer(reading.preset(self.actor, row.id)).data, status=201)


class OnePreset(ApiView):
    """One preset."""

    permissions = {"GET": "jobs.view", "PATCH": "jobs.launch", "DELETE": "jobs.launch"}

    @extend_schema(operation_id="presets_retrieve", responses=PresetSerializer)
    def get(self, request: Request, preset_id: UUID) -> Response:
        """Return one preset."""
        return Response(PresetSerializer(reading.preset(self.actor, preset_id)).data)

    @extend_schema(request=PresetRequestSerializer, responses=PresetSerializer)
    def patch(self, request: Request, preset_id: UUID) -> Response:
        """Replace the name, the launch, or both."""
        body = self.body()
        if "project" in body:
            raise Invalid(fields={"project": ["A preset keeps its project. Save another one there."]})
        if "launch" in body and not isinstance(body["launch"], dict):
            raise Invalid(fields={"launch": ["Give an object: the body of a launch."]})
        name = _name(body) if "name" in body else None
        presets.change(actor=self.actor, preset_id=preset_id, name=name, launch=body.get("launch"))
        return Response(PresetSerializer(reading.preset(self.actor, preset_id)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, preset_id: UUID) -> Response:
        """Remove the preset; jobs launched from it stay."""
        presets.remove(actor=self.actor, preset_id=preset_id)
        return Response(status=204)


class PresetLaunch(ApiView):
    """Launches a preset."""

    permissions = {"POST": "jobs.launch"}

    @extend_schema(request=PresetLaunchSerializer, responses={201: PresetLaunchedSerializer})
    def post(self, request: Request, preset_id: UUID) -> Response:
        """Launch a job as the preset says; fields of the body replace those of the preset."""
        job = presets.launch(actor=self.actor, preset_id=preset_id, changes=self.body())
        return Response(PresetLaunchedSerializer({"job": job.id, "state": job.state}).data, status=201)


def _name(body: dict[str, Any]) -> str:
    value = body.get("name", "")
    if not isinstance(value, str):
        raise Invalid(fields={"name": ["Give a text."]})
    return value
