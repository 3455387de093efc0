"""REST endpoints of the console for the cluster's bill, and the costs of device-hours that make it."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from billing.cluster import costs
from billing.cluster.split import PROPORTIONAL, RULES
from billing.rating.calendar import period_of
from compute.cluster.bill import cluster_bill
from tenants.clock import now
from tenants.errors import Invalid
from tenants.fields.days import Day
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.parsing import parse_month
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of


class BillColumnsSerializer(serializers.Serializer[Any]):
    """What is borne of busy, idle, held and free device time."""

    used = MoneySerializer()
    idle = MoneySerializer()
    held = MoneySerializer()
    free = MoneySerializer()


class BillRowSerializer(serializers.Serializer[Any]):
    """A class of device and who bears it: an organisation, or the platform, whose `organisation` is empty."""

    device_class = serializers.CharField()
    organisation = serializers.CharField(source="slug", help_text="its short name; empty for the platform")
    name = serializers.CharField()
    seconds = serializers.DictField(
        child=serializers.FloatField(),
        help_text="device seconds: capacity = allocated + held + free, allocated = used + idle",
    )
    cost = BillColumnsSerializer(source="row")
    total = MoneySerializer(source="row.total")


class ClusterBillSerializer(serializers.Serializer[Any]):
    """A month of the cluster. The columns and the rows add up to the total."""

    month = serializers.DateField()
    rule = serializers.ChoiceField(choices=RULES, help_text="who bears held and free time")
    total = MoneySerializer(allow_null=True, help_text="null while no cost was ever entered")
    difference = MoneySerializer(allow_null=True, help_text="the total without the sum of the rows: always zero")
    columns = BillColumnsSerializer()
    without_cost = serializers.ListField(
        child=serializers.CharField(), help_text="classes with hours before their first cost: the bill counts them zero"
    )
    rows = BillRowSerializer(many=True)


class ClusterBills(OperatorView):
    """The cluster's bill of a month."""

    permissions: ClassVar = {"GET": "prices.view"}

    @extend_schema(
        parameters=[
            OpenApiParameter("month", str, description="A month in UTC, such as 2026-11; the running one without it."),
            OpenApiParameter(
                "rule", str, enum=RULES, description="Who bears held and free time; proportional without it."
            ),
        ],
        responses=ClusterBillSerializer,
    )
    def get(self, request: Request) -> Response:
        """Split a month's cost of all devices over organisations. Nothing of it is on any invoice."""
        rule = request.query_params.get("rule", PROPORTIONAL)
        if rule not in RULES:
            raise Invalid(fields={"rule": [f"Choose among {', '.join(RULES)}."]})
        month = parse_month(request.query_params.get("month", ""), "month") or period_of(now().date())
        return Response(ClusterBillSerializer(cluster_bill(month, rule)).data)


class DeviceCostSerializer(serializers.Serializer[Any]):
    """What a device-hour of a class costs the platform, from the start of a day in UTC until the next cost of its class."""

    id = serializers.UUIDField()
    device_class = serializers.CharField()
    per_hour = serializers.DecimalField(max_digits=38, decimal_places=12)
    currency = serializers.CharField()
    starts_on = serializers.DateField()
    entered_by = serializers.CharField()
    entered_at = serializers.DateTimeField()


class NewDeviceCostSerializer(ReasonSerializer):
    """A cost to enter."""

    device_class = serializers.CharField(max_length=80)
    per_hour = serializers.DecimalField(max_digits=38, decimal_places=12, min_value=0)
    currency = serializers.CharField(max_length=3, help_text="the same for all classes")
    starts_on = Day(help_text="the first of a class may begin on any day, a later one after today")


class DeviceCosts(OperatorView):
    """What device-hours cost the platform."""

    permissions: ClassVar = {"GET": "prices.view", "POST": "prices.manage"}

    @extend_schema(operation_id="device_costs_list", responses=page_of(DeviceCostSerializer))
    def get(self, request: Request) -> Response:
        """List all costs, the newest entered first."""
        rows = costs.costs(after=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, DeviceCostSerializer, lambda row: (str(row.pk),))

    @extend_schema(request=NewDeviceCostSerializer, responses={201: DeviceCostSerializer})
    def post(self, request: Request) -> Response:
        """Enter a cost. None is changed or removed; the next one of its class follows it. No key does this."""
        data = checked(NewDeviceCostSerializer(data=request.data))
        reason = data.pop("reason")
        made = costs.enter(operator=self.operator, new=costs.NewDeviceCost(**data), reason=reason)
        return Response(DeviceCostSerializer(made).data, status=201)
