"""The showback book and what it shows each project."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing import queries
from billing.api.fields import MoneySerializer
from billing.api.serializers import PriceSerializer
from billing.pricing import showback
from billing.rating.new_price import NewPrice
from tenants.parsing import parse_month
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.views import ApiView


class ShowbackSerializer(serializers.Serializer[Any]):
    """A project's month: what the contract charged, and what the showback book shows."""

    project_id = serializers.UUIDField()
    project = serializers.CharField()
    cost = MoneySerializer()
    shown = MoneySerializer()
    difference = MoneySerializer()


class ShowbackBookSerializer(serializers.Serializer[Any]):
    """The showback book; `prices` is the complete list. Usage that it does not price is shown at its cost."""

    prices = PriceSerializer(many=True)


class Showback(ApiView):
    """What projects are shown. No invoice reads it."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(
        operation_id="showback_list",
        parameters=[OpenApiParameter("month", str, description="such as 2026-11; default: the running month")],
        responses=page_of(ShowbackSerializer),
    )
    def get(self, request: Request) -> Response:
        """Return each project with usage in a month, the dearest first."""
        month = parse_month(request.query_params.get("month", ""), "month")
        return self.whole(queries.showback(month), ShowbackSerializer)


class ShowbackBook(ApiView):
    """The showback book."""

    permissions = {"GET": "pricebooks.view", "PUT": "invoices.manage"}

    @extend_schema(operation_id="showback_prices_retrieve", responses=ShowbackBookSerializer)
    def get(self, request: Request) -> Response:
        """Return the book."""
        return Response(ShowbackBookSerializer({"prices": queries.showback_prices()}).data)

    @extend_schema(request=ShowbackBookSerializer, responses=ShowbackBookSerializer)
    def put(self, request: Request) -> Response:
        """Replace the book; an empty list shows every project what the contract charges."""
        data = checked(ShowbackBookSerializer(data=request.data))
        prices = [NewPrice(one["meter"], one["dims"], one["unit_amount"]) for one in data["prices"]]
        showback.set_prices(actor=self.actor, prices=prices)
        return Response(ShowbackBookSerializer({"prices": queries.showback_prices()}).data)
