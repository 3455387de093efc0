"""REST endpoints of exports of everything that an organisation has stored."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from models_app.api.files import FileEndpoint
from models_app.exports.exports import download
from models_app.files import downloads
from tenants import exports
from tenants.errors import Invalid
from tenants.web.openapi import page_of
from tenants.web.views import ApiView


class ExportOrderSerializer(serializers.Serializer[Any]):
    """What the export is to hold; everything unless given."""

    without_files = serializers.BooleanField(
        required=False, default=False, help_text="Of the tables alone: without uploads, tables, models and predictions"
    )


class ExportSerializer(serializers.Serializer[Any]):
    """An export of everything: a ZIP of JSON Lines, one file for each table, with the audit log, stored files and checksums."""

    id = serializers.UUIDField()
    state = serializers.CharField(help_text="queued, running, ready, failed or expired")
    ordered_by = serializers.CharField()
    reason = serializers.CharField()
    ordered_at = serializers.DateTimeField()
    finished_at = serializers.DateTimeField(allow_null=True)
    expires_at = serializers.DateTimeField(allow_null=True)
    without_files = serializers.BooleanField()
    message = serializers.CharField(help_text="Why it failed")
    rows = serializers.IntegerField()
    files = serializers.IntegerField(help_text="Stored files in it")
    missing = serializers.IntegerField(help_text="Stored files that the store no longer has; manifest.json names them")
    size = serializers.IntegerField(help_text="In bytes")
    sha256 = serializers.CharField(help_text="Of the ZIP")


class Exports(ApiView):
    """Exports of the organisation."""

    permissions = {"GET": exports.ORDERS, "POST": exports.ORDERS}

    @extend_schema(responses=page_of(ExportSerializer))
    def get(self, request: Request) -> Response:
        """List exports, newest first."""
        rows = exports.exports(before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, ExportSerializer, lambda row: (row.id,))

    @extend_schema(request=ExportOrderSerializer, responses={201: ExportSerializer})
    def post(self, request: Request) -> Response:
        """Order an export. It is built within minutes; owners are notified, and can download it for seven days.

        It fails with a `message` if the stored files are larger than the installation allows
        (`EXCHEQUER_MAX_EXPORT_GB`, 50 GiB unless set); `without_files` orders the tables alone.
        """
        without_files = self.body().get("without_files", False)
        if not isinstance(without_files, bool):
            raise Invalid(fields={"without_files": ["Give true or false."]})
        exports.order(actor=self.actor, without_files=without_files)
        return Response(ExportSerializer(exports.exports(limit=1)[0]).data, status=201)


class ExportFile(FileEndpoint):
    """The archive of one export."""

    permissions = {"GET": exports.ORDERS}

    @extend_schema(responses={(200, "application/octet-stream"): OpenApiTypes.BINARY})
    def get(self, request: Request, export_id: UUID) -> HttpResponseBase:
        """Return the ZIP. The download is recorded in the audit log."""
        return downloads.answer(request._request, self.actor, lambda: download(export_id))
