"""REST endpoints that try a change of quotas on past jobs before it is saved: a tenant's own, and the console's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from compute import queries
from compute.jobs.request_body import project_of
from tenants.operators.api.base import OperatorView
from tenants.parsing import parse_whole
from tenants.web.views import ApiView

MOST = 10**6
PARAMETERS = [
    OpenApiParameter("device_class", str, required=True),
    OpenApiParameter("project", str, description="Id or slug; without it the limit is the organisation's."),
    OpenApiParameter("limit", int, description="Devices at once; none without it."),
    OpenApiParameter("guaranteed", int, description="Devices that come before the work of other projects."),
    OpenApiParameter("weight", int, description="Its share when projects compete."),
]


class WaitsSerializer(serializers.Serializer[Any]):
    """Averages over jobs, in seconds: from submission to the first start, and to the end."""

    jobs = serializers.IntegerField()
    wait_s = serializers.FloatField()
    completion_s = serializers.FloatField()


class ProjectChangeSerializer(serializers.Serializer[Any]):
    """One project as it is, and as it would have been."""

    project = serializers.CharField()
    before = WaitsSerializer()
    after = WaitsSerializer()


class QuotaSimulationSerializer(serializers.Serializer[Any]):
    """The ended jobs of the last 30 days, replayed by the scheduler's own policy, as if nobody else used the devices."""

    device_class = serializers.CharField()
    devices_before = serializers.IntegerField()
    devices_after = serializers.IntegerField()
    jobs = serializers.IntegerField()
    left_out = serializers.BooleanField(help_text="Whether there were more jobs than a replay takes; the newest count.")
    projects = ProjectChangeSerializer(many=True, source="rows")


class TenantChangeSerializer(serializers.Serializer[Any]):
    """One organisation as it is, and as it would have been."""

    tenant = serializers.CharField(source="project")
    before = WaitsSerializer()
    after = WaitsSerializer()


class CeilingSimulationSerializer(serializers.Serializer[Any]):
    """The ended jobs of all organisations in the last 30 days, replayed by the scheduler's own policy."""

    device_class = serializers.CharField()
    devices = serializers.IntegerField(source="devices_before")
    jobs = serializers.IntegerField()
    left_out = serializers.BooleanField(help_text="Whether there were more jobs than a replay takes; the newest count.")
    tenants = TenantChangeSerializer(many=True, source="rows")


class CeilingSimulations(OperatorView):
    """What a change of an organisation's ceiling, guaranteed part or weight would have done to all."""

    permissions: ClassVar = {"GET": "quotas.manage"}

    @extend_schema(
        parameters=[one for one in PARAMETERS if one.name != "project"], responses=CeilingSimulationSerializer
    )
    def get(self, request: Request, tenant_id: UUID) -> Response:
        """Replay past jobs under the ceilings as they are, and as changed; nothing is saved."""
        asked = request.query_params
        found = queries.simulate_ceiling(
            queries.WantedCeiling(tenant_id=tenant_id, device_class=asked.get("device_class", ""), **share_of(asked))
        )
        return Response(CeilingSimulationSerializer(found).data)


class QuotaSimulations(ApiView):
    """What a change of quotas would have done."""

    permissions = {"GET": "quotas.manage"}

    @extend_schema(parameters=PARAMETERS, responses=QuotaSimulationSerializer)
    def get(self, request: Request) -> Response:
        """Replay past jobs under the quotas as they are, and as changed; nothing is saved."""
        asked = request.query_params
        found = queries.simulate_quotas(
            queries.Wanted(
                device_class=asked.get("device_class", ""),
                project_id=project_of(asked["project"]) if asked.get("project") else None,
                **share_of(asked),
            )
        )
        return Response(QuotaSimulationSerializer(found).data)


def share_of(asked: Mapping[str, str]) -> dict[str, Any]:
    """Return the limit, the guaranteed part and the weight of a query. Raises Invalid."""
    return {
        "limit": _whole(asked.get("limit", ""), "limit", None),
        "guaranteed": _whole(asked.get("guaranteed", ""), "guaranteed", 0),
        "weight": _whole(asked.get("weight", ""), "weight", 1, least=1),
    }


def _whole(text: str, name: str, default: int | None, *, least: int = 0) -> int | None:
    return parse_whole(text, name, f"Use a whole number from {least}.", least=least, most=MOST) if text else default
