"""REST endpoints of the console's fleet: hosts, devices, cordoning them, and how much of them was used."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from django.urls import URLPattern, path
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from compute.api.cluster_bill import ClusterBills, ClusterRules, DeviceCosts, DeviceCostWithdrawn
from compute.api.idle import IdleWorkOfAll
from compute.api.idle_rules import PoolIdleRuleRemoved, PoolIdleRules
from compute.api.simulation import CeilingSimulations
from compute.fleet import capacity, fleet, machines, shares
from compute.queries import device_hours
from compute.views.machines_api import NodeAct, NodeLabels, NodeTokenRevoked, NodeTokens
from tenants.clock import now
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.parsing import parse_moment
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of


class FleetDeviceSerializer(serializers.Serializer[Any]):
    """A device. Whose work it runs is not shown."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    device_class = serializers.CharField()
    kind = serializers.CharField()
    memory_bytes = serializers.IntegerField()
    state = serializers.CharField()
    state_reason = serializers.CharField()
    state_at = serializers.DateTimeField()
    busy = serializers.BooleanField()
    temperature_c = serializers.IntegerField(
        allow_null=True, help_text="In degrees Celsius; null where it is not measured, or the host is silent."
    )
    warning = serializers.CharField(help_text="What to look at though the device takes work; else empty.")
    link = serializers.CharField(
        help_text="Its pool: the devices of the host with the same one reach each other fastest; else empty."
    )


class FleetNodeSerializer(serializers.Serializer[Any]):
    """A host with its devices."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    hostname = serializers.CharField()
    state = serializers.CharField()
    release = serializers.IntegerField(
        help_text="Of its worker; one more than one apart from the platform gets no work."
    )
    misfit = serializers.CharField(help_text="What to do about a release too far apart; else empty.")
    registered_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()
    missing_layers = serializers.ListField(child=serializers.CharField())
    labels = serializers.DictField(child=serializers.CharField())
    devices = FleetDeviceSerializer(many=True)


class Fleet(OperatorView):
    """All hosts and their devices."""

    permissions: ClassVar = {"GET": "fleet.view"}

    @extend_schema(responses=page_of(FleetNodeSerializer))
    def get(self, request: Request) -> Response:
        """List hosts by name, with their devices."""
        return self.whole(fleet.nodes(), FleetNodeSerializer)


class ClassSharesSerializer(serializers.Serializer[Any]):
    """A class of devices, and the shares of one that jobs may have."""

    device_class = serializers.CharField()
    devices = serializers.IntegerField()
    shares = serializers.ListField(child=serializers.CharField(), help_text="Such as 1/2; empty where it is closed.")
    set_by = serializers.CharField()
    set_at = serializers.DateTimeField(allow_null=True)


class NewSharesSerializer(ReasonSerializer):
    """The shares for which a class is to be open; without any it is closed."""

    device_class = serializers.CharField(max_length=80)
    shares = serializers.ListField(child=serializers.CharField(max_length=7), max_length=len(shares.OFFERED))


class Shares(OperatorView):
    """Which classes of devices may be shared."""

    permissions: ClassVar = {"GET": "fleet.view", "PUT": "fleet.manage"}

    @extend_schema(operation_id="fleet_shares_list", responses=page_of(ClassSharesSerializer))
    def get(self, request: Request) -> Response:
        """List the classes of devices for jobs with the shares for which each is open."""
        return self.whole(shares.classes(), ClassSharesSerializer)

    @extend_schema(request=NewSharesSerializer, responses=ClassSharesSerializer)
    def put(self, request: Request) -> Response:
        """Open a class for shares, or close it. What was launched keeps its share."""
        data = checked(NewSharesSerializer(data=request.data))
        return Response(ClassSharesSerializer(shares.set_shares(operator=self.operator, **data)).data)


class ClassCapacitySerializer(serializers.Serializer[Any]):
    """What the queue would use now of one device class, beside what is ready; unneeded nodes are safe to remove."""

    device_class = serializers.CharField()
    devices_wanted = serializers.IntegerField()
    nodes_wanted = serializers.IntegerField()
    devices_per_node = serializers.IntegerField()
    devices_ready = serializers.IntegerField()
    nodes_ready = serializers.IntegerField()
    unneeded_nodes = serializers.ListField(child=serializers.CharField())
    observed_at = serializers.DateTimeField()


class Capacity(OperatorView):
    """Wanted capacity, for what adds and removes nodes."""

    permissions: ClassVar = {"GET": "fleet.view"}

    @extend_schema(responses=page_of(ClassCapacitySerializer))
    def get(self, request: Request) -> Response:
        """List the device classes with the devices and nodes that their queues would use now, never more than quotas let run."""
        return self.whole(capacity.wanted(), ClassCapacitySerializer)


class DeviceSecondsSerializer(serializers.Serializer[Any]):
    """Device seconds of one group: allocated = used + idle, capacity = allocated + held + free."""

    group = serializers.DictField(child=serializers.CharField())
    capacity_s = serializers.FloatField()
    allocated_s = serializers.FloatField()
    used_s = serializers.FloatField()
    idle_s = serializers.FloatField()
    held_s = serializers.FloatField()
    free_s = serializers.FloatField()


class UtilisationOfAll(OperatorView):
    """Allocation and use of devices by all organisations, in sums."""

    permissions: ClassVar = {"GET": "fleet.view"}

    @extend_schema(
        parameters=[
            OpenApiParameter("from", str, description="A time; 24 hours before `to` without it."),
            OpenApiParameter("to", str, description="A time; now without it."),
            OpenApiParameter("group_by", str, description="Some of hour, device_class and tenant, with commas."),
        ],
        responses=page_of(DeviceSecondsSerializer),
    )
    def get(self, request: Request) -> Response:
        """Return device seconds by group over whole UTC hours; default: the last 24 hours by class and organisation."""
        query = request.query_params
        end = parse_moment(query["to"], "to") if query.get("to") else now()
        start = parse_moment(query["from"], "from") if query.get("from") else end - timedelta(hours=24)
        groups = query.get("group_by", "device_class,tenant").split(",")
        return self.whole(device_hours.across_tenants(start, end, groups), DeviceSecondsSerializer)


class DeviceCordon(OperatorView):
    """Whether a device takes work."""

    cordoned = True
    permissions: ClassVar = {"POST": "fleet.manage"}

    @extend_schema(request=ReasonSerializer, responses={204: None})
    def post(self, request: Request, device_id: UUID) -> Response:
        """Cordon a device, whose running work ends first, or let it take work again."""
        data = checked(ReasonSerializer(data=request.data))
        act = fleet.cordon if self.cordoned else fleet.uncordon
        act(operator=self.operator, device_id=device_id, reason=data["reason"])
        return Response(status=204)


urlpatterns: list[URLPattern] = [
    path("capacity/", Capacity.as_view(), name="operator-api-capacity"),
    path("cluster-bill/", ClusterBills.as_view(), name="operator-api-cluster-bill"),
    path("cluster-bill/rule/", ClusterRules.as_view(), name="operator-api-cluster-rule"),
    path("device-costs/", DeviceCosts.as_view(), name="operator-api-device-costs"),
    path(
        "device-costs/<uuid:cost_id>/withdraw/", DeviceCostWithdrawn.as_view(), name="operator-api-device-cost-withdraw"
    ),
    path("fleet/", Fleet.as_view(), name="operator-api-fleet"),
    path("fleet/devices/<uuid:device_id>/cordon/", DeviceCordon.as_view(), name="operator-api-cordon"),
    path(
        "fleet/devices/<uuid:device_id>/uncordon/", DeviceCordon.as_view(cordoned=False), name="operator-api-uncordon"
    ),
    path("fleet/shares/", Shares.as_view(), name="operator-api-shares"),
    path("idle/", IdleWorkOfAll.as_view(), name="operator-api-idle"),
    path("idle-rules/", PoolIdleRules.as_view(), name="operator-api-idle-rules"),
    path("idle-rules/remove/", PoolIdleRuleRemoved.as_view(), name="operator-api-idle-rule-remove"),
    path("nodes/tokens/", NodeTokens.as_view(), name="operator-api-node-tokens"),
    path("nodes/tokens/<uuid:token_id>/revoke/", NodeTokenRevoked.as_view(), name="operator-api-node-token-revoke"),
    *(
        path(f"nodes/<uuid:node_id>/{act}/", NodeAct.as_view(act=act), name=f"operator-api-node-{act}")
        for act in machines.ACTS
    ),
    path("nodes/<uuid:node_id>/labels/", NodeLabels.as_view(), name="operator-api-node-labels"),
    path(
        "tenants/<uuid:tenant_id>/quotas/simulation/",
        CeilingSimulations.as_view(),
        name="operator-api-quota-simulation",
    ),
    path("utilisation/", UtilisationOfAll.as_view(), name="operator-api-utilisation"),
]
