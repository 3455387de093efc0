"""REST endpoints for stored files and for the download link of a version's weights."""

from __future__ import annotations

from uuid import UUID

from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from models_app.api import serializers
from models_app.files import downloads
from tenants.web.views import FILE_RENDERERS, ApiView


class FileEndpoint(ApiView):
    """Base of endpoints that stream a file; the transaction ends before the first byte is sent."""

    own_transaction = True
    renderer_classes = FILE_RENDERERS


class VersionDownload(ApiView):
    """Download link for the weights of one version."""

    permissions = {"GET": "models.view"}

    @extend_schema(responses=serializers.LinkSerializer)
    def get(self, request: Request, version_id: UUID) -> Response:
        """Return the URL of the safetensors file. It requires the same session or key as any other request."""
        downloads.weights(self.actor, version_id)
        url = request.build_absolute_uri(reverse("api-version-weights", args=(version_id,)))
        return Response(serializers.LinkSerializer({"url": url}).data)


class VersionWeights(FileEndpoint):
    """The weights of one version."""

    permissions = {"GET": "models.view"}

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, version_id: UUID) -> HttpResponseBase:
        """Return the safetensors file. The download is recorded in the audit log."""
        return downloads.answer(request._request, self.actor, lambda: downloads.weights(self.actor, version_id))
