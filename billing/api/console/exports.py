"""REST endpoint of the seller's exports: the charges of all organisations, or of one, by line."""

from __future__ import annotations

from typing import ClassVar

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from billing.api.exports import FILE, PARAMETERS
from billing.exports import downloads
from billing.exports.documents import Days
from billing.exports.downloads import Asked
from billing.exports.profiles import PROFILES
from billing.exports.spooled import FORMATS, file_response, headers
from billing.rating.calendar import next_period
from tenants.errors import Invalid
from tenants.operators.api.base import OperatorView
from tenants.parsing import parse_choice, parse_month, parse_uuid
from tenants.web.views import FILE_RENDERERS


class FocusExport(OperatorView):
    """What was billed in a month, charge by charge."""

    permissions: ClassVar = {"GET": "invoices.view"}
    renderer_classes = FILE_RENDERERS

    @extend_schema(
        parameters=[
            *PARAMETERS,
            OpenApiParameter("tenant", str, description="the id of one organisation; default: all"),
        ],
        responses=FILE,
    )
    def get(self, request: Request) -> HttpResponseBase:
        """Return the charges of a month in the columns of FOCUS or as a plain table: usage by line, projects as ids.

        They add up to the invoices and credit notes. The download is recorded in the operator log.
        """
        query = request.query_params
        month = parse_month(query.get("period", ""))
        if month is None:
            raise Invalid(fields={"period": ["Give a month such as 2026-11."]})
        asked = Asked(
            days=Days(month, next_period(month)),
            version=parse_choice(query.get("version", ""), "version", tuple(PROFILES)) or "1.2",
            form=parse_choice(query.get("format", ""), "format", tuple(FORMATS)) or "csv",
        )
        tenant_id = parse_uuid(query["tenant"], "tenant") if query.get("tenant") else None
        if request.method == "HEAD":
            return HttpResponse(headers=headers(asked.filename, asked.form))
        content = downloads.taken_by_operator(operator=self.operator, asked=asked, tenant_id=tenant_id)
        return file_response(content, asked.filename, asked.form)
