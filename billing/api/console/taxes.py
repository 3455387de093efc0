"""REST endpoints of the seller's tax rates: the list, one to enter, and the end of one."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.taxes import queries, table
from tenants.fields.days import Day
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of


class TaxRateSerializer(serializers.Serializer[Any]):
    """A rate of tax."""

    id = serializers.UUIDField()
    country = serializers.CharField()
    product = serializers.CharField(help_text="the key of a meter; empty: all that has no rate of its own")
    name = serializers.CharField(help_text="as it stands on invoices")
    percent = serializers.DecimalField(max_digits=6, decimal_places=3)
    starts_on = serializers.DateField()
    ends_on = serializers.DateField(allow_null=True, help_text="the first day without it")
    entered_by = serializers.CharField()
    state = serializers.CharField(help_text="coming, in_force or past")


class NewTaxRateSerializer(ReasonSerializer):
    """A rate to enter."""

    country = serializers.CharField(max_length=2)
    product = serializers.CharField(required=False, default="", allow_blank=True, max_length=60)
    name = serializers.CharField(max_length=60)
    percent = serializers.DecimalField(max_digits=6, decimal_places=3, min_value=0, max_value=100)
    starts_on = Day()
    ends_on = Day(required=False, default=None, allow_null=True)


class EndSerializer(ReasonSerializer):
    """The first day without a rate."""

    ends_on = Day(help_text="at the earliest the first day of last month")


class TaxRates(OperatorView):
    """The seller's tax rates."""

    permissions: ClassVar = {"GET": "prices.view", "POST": "prices.manage"}

    @extend_schema(operation_id="tax_rates_list", responses=page_of(TaxRateSerializer))
    def get(self, request: Request) -> Response:
        """List all rates by country and product, the latest start first."""
        return self.whole(queries.tax_rates(), TaxRateSerializer)

    @extend_schema(request=NewTaxRateSerializer, responses={201: TaxRateSerializer})
    def post(self, request: Request) -> Response:
        """Enter a rate. Drafts follow it, finalised invoices keep their tax. No key does this."""
        data = checked(NewTaxRateSerializer(data=request.data))
        reason = data.pop("reason")
        made = table.enter(operator=self.operator, rate=table.NewRate(**data), reason=reason)
        return Response(TaxRateSerializer(queries.tax_rate(made.pk)).data, status=201)


class TaxRateEnd(OperatorView):
    """The end of a rate."""

    permissions: ClassVar = {"POST": "prices.manage"}

    @extend_schema(request=EndSerializer, responses={204: None})
    def post(self, request: Request, rate_id: UUID) -> Response:
        """End a rate; one that is to begin goes if it ends before. No key does this."""
        data = checked(EndSerializer(data=request.data))
        table.end(operator=self.operator, rate_id=rate_id, **data)
        return Response(status=204)
