"""REST endpoints that move a model version through its stages."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from models_app.api import serializers
from models_app.models import ModelVersion, Stage
from models_app.registry import lineage, registry
from tenants.errors import Invalid
from tenants.web.views import ApiView


class _Move(ApiView):
    """Base of endpoints that move one version; they return the version in its new state."""

    def answer(self, version: ModelVersion, stage: str) -> Response:
        """Return the version: 202 if it waits for an approver and has not reached the requested stage."""
        waits = version.stage != stage
        shown = serializers.ModelVersionSerializer(lineage.lineage(self.actor, version.id))
        state = "requested" if waits else "promoted"
        return Response({**shown.data, "state": state}, status=202 if waits else 200)


class VersionPromote(_Move):
    """Moves a version to another stage."""

    permissions = {"POST": "models.manage"}

    @extend_schema(
        request=serializers.StageSerializer,
        responses={200: serializers.StagedSerializer, 202: serializers.StagedSerializer},
    )
    def post(self, request: Request, version_id: UUID) -> Response:
        """Move a version to a stage.

        Production needs an approver; for others the response is 202 and the version waits.
        """
        stage = self.body().get("stage")
        if not isinstance(stage, str):
            raise Invalid(fields={"stage": ["Give the stage to move to."]})
        return self.answer(registry.promote(actor=self.actor, version_id=version_id, stage=stage), stage)


class VersionApprove(_Move):
    """Grants a request for production."""

    permissions = {"POST": "models.approve"}

    @extend_schema(request=None, responses=serializers.StagedSerializer)
    def post(self, request: Request, version_id: UUID) -> Response:
        """Move a version into production as requested; 409 if there is no request."""
        return self.answer(registry.approve(actor=self.actor, version_id=version_id), Stage.PRODUCTION)


class VersionDecline(_Move):
    """Refuses a request for production."""

    permissions = {"POST": "models.approve"}

    @extend_schema(request=serializers.DeclineSerializer, responses=serializers.ModelVersionSerializer)
    def post(self, request: Request, version_id: UUID) -> Response:
        """Keep a version where it is and notify the requester, with the reason if given; 409 if there is no request."""
        reason = self.body().get("reason", "")
        if not isinstance(reason, str):
            raise Invalid(fields={"reason": ["Enter the reason as text, or leave it out."]})
        version = registry.decline(actor=self.actor, version_id=version_id, reason=reason)
        return Response(serializers.ModelVersionSerializer(lineage.lineage(self.actor, version.id)).data)
