"""REST endpoints of statements of account."""

from __future__ import annotations

from datetime import date
from typing import Any

from django.http import HttpResponse
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.documents import PDF
from billing.api.fields import MoneySerializer
from billing.documents import downloads
from billing.documents.compiling import typeset
from billing.documents.files import pdf_file
from billing.documents.finding import document_of_statement
from billing.queries.calendar import tenant_today
from billing.queries.owed.statements import Statement, currencies, statement
from tenants.isolation.scoping import tenant_scope
from tenants.parsing import parse_choice, parse_day
from tenants.web.views import FILE_RENDERERS, ApiView

RANGE = [
    OpenApiParameter("from", date, description="default: 1 January of this year"),
    OpenApiParameter("to", date, description="that day included; default: today"),
    OpenApiParameter("currency", str, description="default: the organisation's"),
]


class EntrySerializer(serializers.Serializer[Any]):
    """An entry: positive amounts are owed, negative ones take off; `balance` is what is owed after it."""

    at = serializers.DateTimeField()
    day = serializers.DateField(help_text="in the organisation's time zone")
    kind = serializers.CharField(help_text="invoice, void, credit note, into the wallet, payment, refund, reversal")
    invoice = serializers.UUIDField(source="invoice_id")
    number = serializers.CharField()
    detail = serializers.CharField()
    amount = MoneySerializer()
    balance = MoneySerializer()


class StatementSerializer(serializers.Serializer[Any]):
    """A statement of account, in one currency."""

    starts_on = serializers.DateField()
    ends_on = serializers.DateField()
    time_zone = serializers.CharField(source="zone")
    opening = MoneySerializer(help_text="what was owed before the first day")
    entries = EntrySerializer(many=True)
    closing = MoneySerializer()


class StatementOfAccount(ApiView):
    """The statement of account."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(parameters=RANGE, responses=StatementSerializer)
    def get(self, request: Request) -> Response:
        """Return what was owed, invoiced, credited, paid and returned, from a day to a day."""
        return Response(StatementSerializer(asked_for(request)).data)


class StatementPdf(ApiView):
    """The statement of account as PDF."""

    permissions = {"GET": "invoices.view"}
    own_transaction = True
    renderer_classes = FILE_RENDERERS

    @extend_schema(parameters=RANGE, responses=PDF)
    def get(self, request: Request) -> HttpResponse:
        """Return a statement of account as PDF. The download is recorded in the audit log."""
        with tenant_scope(self.actor.tenant_id):
            filename, sheet = document_of_statement(asked_for(request))
        if request.method == "HEAD":
            return pdf_file(filename)
        content = typeset(sheet)
        downloads.note_statement(actor=self.actor, filename=filename, content=content)
        return pdf_file(filename, content)


def asked_for(request: Request) -> Statement:
    """Return the statement of the open scope's tenant that the query asks for. Raises Invalid."""
    at, query = tenant_today(), request.query_params
    starts_on = parse_day(query.get("from", ""), "from") or date(at.day.year, 1, 1)
    ends_on = parse_day(query.get("to", ""), "to") or at.day
    known = sorted({*currencies(), at.currency})
    return statement(starts_on, ends_on, parse_choice(query.get("currency", ""), "currency", known) or at.currency)
