"""REST endpoint of the exports of charges: FOCUS, or a plain table, as CSV or Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework.request import Request

from billing.exports import downloads
from billing.exports.documents import GRANULARITIES, Days
from billing.exports.downloads import Asked
from billing.exports.profiles import PROFILES
from billing.exports.spooled import FORMATS, file_response, headers
from billing.queries.calendar import Today, tenant_today
from billing.queries.spend import span
from billing.rating.calendar import next_period
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.parsing import parse_choice, parse_moment, parse_month
from tenants.web.views import FILE_RENDERERS, ApiView

FILE = {(200, "text/csv"): OpenApiTypes.STR, (200, "application/vnd.apache.parquet"): OpenApiTypes.BINARY}
PARAMETERS = [
    OpenApiParameter("period", str, description="a month, such as 2026-11, in place of `from` and `to`"),
    OpenApiParameter(
        "version",
        str,
        enum=list(PROFILES),
        description="of FOCUS, `invoice-detail` of FOCUS 1.4, or `plain`; default 1.2",
    ),
    OpenApiParameter("format", str, enum=list(FORMATS), description="default csv"),
]
RANGE = [
    OpenApiParameter("from", str, description="local day or RFC 3339 time; default: the running month"),
    OpenApiParameter("to", str, description="end, not included; at most twelve months"),
    OpenApiParameter("granularity", str, enum=list(GRANULARITIES), description="of usage; default day"),
]


def asked_of(query: Mapping[str, str], at: Today) -> Asked:
    """Return the export that a query string asks for. Raises Invalid."""
    month = parse_month(query.get("period", ""))
    if month and (query.get("from") or query.get("to")):
        raise Invalid(fields={"period": ["Give a period, or from and to."]})
    if month:
        first, end = month, next_period(month)
    else:
        over = span(_moment(query, "from"), _moment(query, "to"), at)
        first, end = over.first, over.end
    granularity = parse_choice(query.get("granularity", ""), "granularity", GRANULARITIES) or "day"
    return Asked(
        days=Days(first, end, granularity),
        version=parse_choice(query.get("version", ""), "version", tuple(PROFILES)) or "1.2",
        form=parse_choice(query.get("format", ""), "format", tuple(FORMATS)) or "csv",
    )


class FocusExport(ApiView):
    """What was billed, charge by charge."""

    permissions = {"GET": "invoices.view"}
    own_transaction = True
    renderer_classes = FILE_RENDERERS

    @extend_schema(parameters=[*RANGE, *PARAMETERS], responses=FILE)
    def get(self, request: Request) -> HttpResponseBase:
        """Return the charges of a range in the columns of FOCUS 1.2 or 1.4, or as a plain table.

        `invoice-detail` lists the lines of what is issued instead: InvoiceDetailId of version 1.4 leads to them.

        Charges of a whole month add up to its invoice and its credit notes: usage has twelve decimals, and what rounding a
        line adds is an adjustment. Of a month in part, only usage is there. The download is recorded in the audit log.
        """
        with tenant_scope(self.actor.tenant_id):
            asked = asked_of(request.query_params, tenant_today())
        asked.days.check()
        if request.method == "HEAD":
            return HttpResponse(headers=headers(asked.filename, asked.form))
        content = downloads.taken(actor=self.actor, asked=asked)
        return file_response(content, asked.filename, asked.form)


def _moment(query: Mapping[str, str], name: str) -> date | datetime | None:
    text = query.get(name)
    if not text:
        return None
    if len(text) != len("2026-01-31"):
        return parse_moment(text, name)
    try:
        return date.fromisoformat(text)
    except ValueError:
        help_text = "Give a day such as 2026-01-31 or a time such as 2026-01-31T08:00:00Z."
        raise Invalid(fields={name: [help_text]}) from None
