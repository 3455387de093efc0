"""REST endpoints of the seller's month: order a run over all organisations, and list what it prepared."""

from __future__ import annotations

from datetime import date
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from billing.api.invoice_serializers import OrganisationSerializer
from billing.models import PeriodRun
from billing.models.invoicing import STATES
from billing.rating.flags import SEVERITY
from billing.runs import queries, running
from tenants.errors import Invalid
from tenants.operators.api.base import OperatorView
from tenants.parsing import parse_month
from tenants.web.pagination import PAGE


class RunSerializer(serializers.Serializer[PeriodRun]):
    """A run of a month, and how far it is."""

    id = serializers.UUIDField()
    ordered_by = serializers.CharField()
    ordered_at = serializers.DateTimeField()
    started_at = serializers.DateTimeField(allow_null=True, help_text="null: it waits for the ops worker")
    finished_at = serializers.DateTimeField(allow_null=True)
    tenants = serializers.IntegerField(help_text="organisations in all")
    done = serializers.IntegerField(help_text="organisations that were looked at")
    failed = serializers.IntegerField(help_text="those among them that could not be prepared: the log says why")


class FlagSerializer(serializers.Serializer[Any]):
    """What a person should look at; amounts are without tax but those of `nothing_billed`."""

    flag = serializers.CharField(help_text=", ".join(SEVERITY))
    meter = serializers.CharField()
    title = serializers.CharField(default="", help_text="of the meter; empty for an adjustment of the contract")
    project = serializers.UUIDField(allow_null=True)
    before = serializers.CharField(help_text="the amount of the last month")
    now = serializers.CharField()


class PreparedSerializer(serializers.Serializer[queries.PreparedRow]):
    """An organisation's month as the last run found it."""

    tenant = OrganisationSerializer(source="*")
    invoice = serializers.UUIDField(source="invoice_id", allow_null=True)
    state = serializers.CharField(help_text=f"{', '.join(STATES)} now; none: the month has no invoice")
    number = serializers.CharField(help_text="empty until it is finalised")
    currency = serializers.CharField()
    subtotal = MoneySerializer()
    tax = MoneySerializer()
    total = MoneySerializer()
    last_total = MoneySerializer(allow_null=True, help_text="of the month before; null if that has no invoice")
    change = serializers.DecimalField(
        max_digits=40, decimal_places=1, allow_null=True, help_text="per cent of the month before"
    )
    reconciled = serializers.BooleanField(
        allow_null=True, help_text="false: nothing is finalised until the figures agree"
    )
    faults = serializers.ListField(child=serializers.CharField())
    flags = FlagSerializer(many=True)
    disputes = serializers.IntegerField(help_text="of its lines, open now")
    grace_ends = serializers.DateTimeField(allow_null=True, help_text="until when late usage of the draft is awaited")
    prepared_at = serializers.DateTimeField(help_text="when these figures were found first")


class PeriodSerializer(serializers.Serializer[Any]):
    """A page of a month's prepared drafts, and its newest run."""

    run = RunSerializer(allow_null=True, help_text="null: none was ordered")
    results = PreparedSerializer(many=True)
    next = serializers.CharField(allow_null=True)


class OnePeriod(OperatorView):
    """A month of all organisations."""

    permissions: ClassVar = {"GET": "invoices.view"}

    @extend_schema(operation_id="period_retrieve", parameters=PAGE, responses=PeriodSerializer)
    def get(self, request: Request, period: str) -> Response:
        """List what the last run found, the worst flags first, and say how far the newest run is."""
        month = _month(period)
        rows = queries.prepared(month, after=self.after(int, str, str), limit=self.page_size() + 1)
        page = self.paginated(rows, PreparedSerializer, lambda row: (row.severity, row.tenant_slug, row.currency)).data
        shown = {"run": queries.newest_run(month), "results": rows[: self.page_size()], "next": page["next"]}
        return Response(PeriodSerializer(shown).data)


class Run(OperatorView):
    """The run of a month."""

    permissions: ClassVar = {"POST": "invoices.manage"}

    @extend_schema(request=None, responses={202: RunSerializer})
    def post(self, request: Request, period: str) -> Response:
        """Order a run: the ops worker prepares the draft of every organisation. One that goes on is returned."""
        run = running.order(operator=self.operator, period=_month(period))
        return Response(RunSerializer(run).data, status=202)


def _month(text: str) -> date:
    month = parse_month(text)
    if month is None:
        raise Invalid(fields={"period": ["Give a month such as 2026-11."]})
    return month
