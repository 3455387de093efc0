"""REST endpoints of the console for the cluster's bill, and the costs of device-hours that make it."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from billing.cluster import costs, rules
from billing.cluster.split import RULES
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
    rule_in_force = serializers.CharField(help_text="the chosen rule of this month")
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
                "rule", str, enum=RULES, description="Who bears held and free time; the rule in force without it."
            ),
        ],
        responses=ClusterBillSerializer,
    )
    def get(self, request: Request) -> Response:
        """Split a month's cost of all devices over organisations. Nothing of it is on any invoice."""
        month = parse_month(request.query_params.get("month", ""), "month") or period_of(now().date())
        rule = request.query_params.get("rule", rules.rule_of(month))
        if rule not in RULES:
            raise Invalid(fields={"rule": [f"Choose among {', '.join(RULES)}."]})
        return Response(ClusterBillSerializer(cluster_bill(month, rule)).data)


class ChosenRuleSerializer(ReasonSerializer):
    """A rule, and the first month for which it is in force."""

    rule = serializers.ChoiceField(choices=RULES)
    month = serializers.CharField(max_length=7, help_text="the running month or a later one, such as 2026-11")


class ClusterRules(OperatorView):
    """Who bears held and free time."""

    permissions: ClassVar = {"PUT": "prices.manage"}

    @extend_schema(request=ChosenRuleSerializer, responses={204: None})
    def put(self, request: Request) -> Response:
        """Choose the rule from a month on; bills of months that are over keep theirs. No key does this."""
        data = checked(ChosenRuleSerializer(data=request.data))
        month = parse_month(data["month"], "month")
        if month is None:
            raise Invalid(fields={"month": ["Name a month, such as 2026-11."]})
        rules.choose(operator=self.operator, rule=data["rule"], month=month, reason=data["reason"])
        return Response(status=204)


class DeviceCostSerializer(serializers.Serializer[Any]):
    """What a device-hour of a class costs the platform, from the start of a day in UTC until the next cost of its class."""

    id = serializers.UUIDField()
    device_class = serializers.CharField()
    per_hour = serializers.DecimalField(max_digits=38, decimal_places=12)
    currency = serializers.CharField()
    starts_on = serializers.DateField()
    entered_by = serializers.CharField()
    entered_at = serializers.DateTimeField()
    withdrawn_at = serializers.DateTimeField(
        source="withdrawal.withdrawn_at", default=None, allow_null=True, help_text="null while it counts"
    )


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
        """List all costs, also withdrawn ones, the newest entered first."""
        rows = costs.costs(after=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, DeviceCostSerializer, lambda row: (str(row.pk),))

    @extend_schema(request=NewDeviceCostSerializer, responses={201: DeviceCostSerializer})
    def post(self, request: Request) -> Response:
        """Enter a cost. None is changed or removed: the next one of its class follows it, or it is withdrawn. No key does this."""
        data = checked(NewDeviceCostSerializer(data=request.data))
        reason = data.pop("reason")
        made = costs.enter(operator=self.operator, new=costs.NewDeviceCost(**data), reason=reason)
        return Response(DeviceCostSerializer(made).data, status=201)


class DeviceCostWithdrawn(OperatorView):
    """Withdraws a cost that was entered by mistake."""

    permissions: ClassVar = {"POST": "prices.manage"}

    @extend_schema(request=ReasonSerializer, responses={204: None})
    def post(self, request: Request, cost_id: UUID) -> Response:
        """Withdraw a cost: bills have the one before it, or none. Another may begin on its day. No key does this."""
        data = checked(ReasonSerializer(data=request.data))
        costs.withdraw(operator=self.operator, cost_id=cost_id, reason=data["reason"])
        return Response(status=204)
