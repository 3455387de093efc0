"""REST endpoints of the console's fleet: hosts, devices, and cordoning them."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.urls import URLPattern, path
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from compute.fleet import fleet
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
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


class FleetNodeSerializer(serializers.Serializer[Any]):
    """A host with its devices."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    hostname = serializers.CharField()
    state = serializers.CharField()
    registered_at = serializers.DateTimeField()
    last_seen_at = serializers.DateTimeField()
    missing_layers = serializers.ListField(child=serializers.CharField())
    devices = FleetDeviceSerializer(many=True)


class Fleet(OperatorView):
    """All hosts and their devices."""

    permissions: ClassVar = {"GET": "fleet.view"}

    @extend_schema(responses=page_of(FleetNodeSerializer))
    def get(self, request: Request) -> Response:
        """List hosts by name, with their devices."""
        return self.whole(fleet.nodes(), FleetNodeSerializer)


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
    path("", Fleet.as_view(), name="operator-api-fleet"),
    path("devices/<uuid:device_id>/cordon/", DeviceCordon.as_view(), name="operator-api-cordon"),
    path("devices/<uuid:device_id>/uncordon/", DeviceCordon.as_view(cordoned=False), name="operator-api-uncordon"),
]
