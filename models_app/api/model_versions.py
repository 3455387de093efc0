"""REST endpoints that move a model version through its stages."""

from __future__ import annotations

from uuid import UUID

from django.urls import path
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from models_app.api import serializers
from models_app.models import ModelVersion, Stage
from models_app.registry import lineage, registry
from tenants.errors import Invalid
from tenants.web.views import ApiView


class _Move(ApiView):
    """Base of the acts on one version; answers the version as it is then."""

    def answer(self, version: ModelVersion, stage: str) -> Response:
        """Return the version: 202 when it is not in the stage that was asked for, so waits for an approver."""
        waits = version.stage != stage
        shown = serializers.model_version(lineage.lineage(self.actor, version.id))
        return Response(shown | {"state": "requested" if waits else "promoted"}, status=202 if waits else 200)


class VersionPromote(_Move):
    """Moves a version to another stage."""

    permissions = {"POST": "models.manage"}

    @extend_schema(
        request=serializers.StageSerializer,
        responses={200: serializers.StagedSerializer, 202: serializers.StagedSerializer},
    )
    def post(self, request: Request, version_id: UUID) -> Response:
        """Move a version to a stage; production takes an approver, so others get 202 and the version waits."""
        stage = self.body().get("stage")
        if not isinstance(stage, str):
            raise Invalid(fields={"stage": ["Give the stage to move to."]})
        return self.answer(registry.promote(actor=self.actor, version_id=version_id, stage=stage), stage)


class VersionApprove(_Move):
    """Grants a request for production."""

    permissions = {"POST": "models.approve"}

    @extend_schema(request=None, responses=serializers.StagedSerializer)
    def post(self, request: Request, version_id: UUID) -> Response:
        """Take a version into production as it was asked for; 409 when nobody asked."""
        return self.answer(registry.approve(actor=self.actor, version_id=version_id), Stage.PRODUCTION)


class VersionDecline(_Move):
    """Refuses a request for production."""

    permissions = {"POST": "models.approve"}

    @extend_schema(request=serializers.DeclineSerializer, responses=serializers.ModelVersionSerializer)
    def post(self, request: Request, version_id: UUID) -> Response:
        """Leave a version where it is, and tell who asked, with the reason if one is given; 409 when nobody asked."""
        reason = self.body().get("reason", "")
        if not isinstance(reason, str):
            raise Invalid(fields={"reason": ["Give the reason as text, or leave it out."]})
        version = registry.decline(actor=self.actor, version_id=version_id, reason=reason)
        return Response(serializers.model_version(lineage.lineage(self.actor, version.id)))


urlpatterns = [
    path("versions/<uuid:version_id>/promote/", VersionPromote.as_view(), name="api-version-promote"),
    path("versions/<uuid:version_id>/approve/", VersionApprove.as_view(), name="api-version-approve"),
    path("versions/<uuid:version_id>/decline/", VersionDecline.as_view(), name="api-version-decline"),
]
