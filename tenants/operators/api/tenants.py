"""REST endpoints of tenants: list, create, read, their standing and their ceilings."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.access.standing import STANDINGS
from tenants.operators import ceilings, lifecycle, tenant_details, tenant_metrics
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.operators.orders import erasure, exports
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of

ACTS = {
    "suspend": lifecycle.suspend,
    "resume": lifecycle.resume,
    "close": lifecycle.close,
    "restore": lifecycle.restore,
}


class TenantFiguresSerializer(serializers.Serializer[Any]):
    """A tenant with its figures, collected every half minute."""

    id = serializers.UUIDField(source="tenant_id", read_only=True)
    slug = serializers.CharField()
    name = serializers.CharField()
    standing = serializers.ChoiceField(choices=STANDINGS)
    currency = serializers.CharField()
    created_at = serializers.DateTimeField()
    members = serializers.IntegerField()
    running_jobs = serializers.IntegerField()
    queued_jobs = serializers.IntegerField()
    month_spend = serializers.DecimalField(max_digits=38, decimal_places=12)
    budget_limit = serializers.DecimalField(
        max_digits=38,
        decimal_places=12,
        allow_null=True,
        help_text="of the whole organisation's budget; null without one",
    )
    budget_spent = serializers.DecimalField(max_digits=38, decimal_places=12)
    budget_period = serializers.CharField(help_text="month, quarter or year; empty without a budget")
    open_alerts = serializers.IntegerField(help_text="thresholds that its endpoints have crossed")
    refreshed_at = serializers.DateTimeField()


class NewTenantSerializer(serializers.Serializer[Any]):
    """A tenant to create."""

    name = serializers.CharField(max_length=120)
    slug = serializers.CharField(max_length=50)
    owner_email = serializers.EmailField(help_text="Gets an invitation by mail")
    timezone = serializers.CharField(default="UTC", max_length=64)
    currency = serializers.CharField(default="EUR", max_length=3)


class CreatedSerializer(serializers.Serializer[Any]):
    """The id of what was created."""

    id = serializers.UUIDField()


class PersonSerializer(serializers.Serializer[Any]):
    """A member of a tenant."""

    email = serializers.EmailField()
    name = serializers.CharField()
    roles = serializers.CharField()
    since = serializers.DateTimeField()


class TenantSerializer(serializers.Serializer[Any]):
    """One tenant, with its people. Never its jobs or data."""

    id = serializers.UUIDField(source="tenant.id")
    slug = serializers.CharField(source="tenant.slug")
    name = serializers.CharField(source="tenant.name")
    timezone = serializers.CharField(source="tenant.timezone")
    currency = serializers.CharField(source="tenant.currency")
    standing = serializers.ChoiceField(choices=STANDINGS, source="tenant.standing")
    standing_reason = serializers.CharField(source="tenant.standing_reason")
    closes_at = serializers.DateTimeField(source="tenant.closes_at", allow_null=True)
    erase_ordered_at = serializers.DateTimeField(source="tenant.erase_ordered_at", allow_null=True)
    erased_at = serializers.DateTimeField(source="tenant.erased_at", allow_null=True)
    created_at = serializers.DateTimeField(source="tenant.created_at")
    people = PersonSerializer(many=True)


class CeilingSerializer(serializers.Serializer[Any]):
    """A ceiling: the most that a tenant may use of a resource, whatever limits it sets itself."""

    resource = serializers.CharField(max_length=80)
    limit = serializers.IntegerField(allow_null=True, min_value=0, help_text="In the resource's unit; null lifts it")
    guaranteed = serializers.IntegerField(required=False, min_value=0, help_text="Stays as it is unless given")
    weight = serializers.IntegerField(required=False, min_value=1, help_text="Stays as it is unless given")


class NewCeilingSerializer(CeilingSerializer):
    """A ceiling to set, and why."""

    reason = serializers.CharField(max_length=400)


class CeilingRowSerializer(CeilingSerializer):
    """A ceiling with who set it and why."""

    period = serializers.CharField()
    reason = serializers.CharField()
    set_at = serializers.DateTimeField()
    raised_to = serializers.IntegerField(
        allow_null=True, help_text="What binds instead of a lower `limit`, in its unit"
    )
    raised_until = serializers.DateTimeField(allow_null=True, help_text="When the raise ends by itself")


class Tenants(OperatorView):
    """All tenants of the installation."""

    permissions: ClassVar = {"GET": "tenants.view", "POST": "tenants.manage"}

    @extend_schema(
        operation_id="tenants_list",
        parameters=[OpenApiParameter("q", str, description="A part of the name or short name.")],
        responses=page_of(TenantFiguresSerializer),
    )
    def get(self, request: Request) -> Response:
        """List tenants by short name, with their figures."""
        rows = tenant_metrics.digests(
            text=request.query_params.get("q", "")[:100], after=self.before(str) or "", limit=self.page_size()
        )
        return self.paginated(rows, TenantFiguresSerializer, lambda row: (row.slug,))

    @extend_schema(request=NewTenantSerializer, responses={201: CreatedSerializer})
    def post(self, request: Request) -> Response:
        """Create a tenant and invite its owner by mail."""
        data = checked(NewTenantSerializer(data=request.data))
        made = lifecycle.create(operator=self.operator, **data)
        return Response(CreatedSerializer({"id": made}).data, status=201)


class OneTenant(OperatorView):
    """One tenant."""

    permissions: ClassVar = {"GET": "tenants.view"}

    @extend_schema(responses=TenantSerializer)
    def get(self, request: Request, tenant_id: UUID) -> Response:
        """Return one tenant with its people."""
        return Response(TenantSerializer(tenant_details.details(tenant_id)).data)


class TenantAct(OperatorView):
    """A change of a tenant's standing."""

    act = ""
    permissions: ClassVar = {"POST": "tenants.manage"}

    @extend_schema(request=ReasonSerializer, responses=TenantSerializer)
    def post(self, request: Request, tenant_id: UUID) -> Response:
        """Suspend, resume, close or restore a tenant."""
        data = checked(ReasonSerializer(data=request.data))
        ACTS[self.act](operator=self.operator, tenant_id=tenant_id, reason=data["reason"])
        return Response(TenantSerializer(tenant_details.details(tenant_id)).data)


class Ceilings(OperatorView):
    """The ceilings of one tenant."""

    permissions: ClassVar = {"GET": "quotas.view", "PUT": "quotas.manage"}

    @extend_schema(responses=page_of(CeilingRowSerializer))
    def get(self, request: Request, tenant_id: UUID) -> Response:
        """List a tenant's ceilings."""
        return self.whole(ceilings.of_tenant(tenant_id), CeilingRowSerializer)

    @extend_schema(request=NewCeilingSerializer, responses=CeilingRowSerializer)
    def put(self, request: Request, tenant_id: UUID) -> Response:
        """Set or lift one ceiling. A limit of the tenant above it stays; the lower one binds."""
        data = checked(NewCeilingSerializer(data=request.data))
        reason, wanted = data.pop("reason"), ceilings.Ceiling(**data)
        row = ceilings.set_one(operator=self.operator, tenant_id=tenant_id, wanted=wanted, reason=reason)
        return Response(CeilingRowSerializer(ceilings.shown(row)).data)


class OrderedSerializer(serializers.Serializer[Any]):
    """An export that is ordered; the tenant's owners download it."""

    id = serializers.UUIDField()
    state = serializers.CharField()


class NewExport(OperatorView):
    """An export of everything of a tenant."""

    permissions: ClassVar = {"POST": "tenants.export"}

    @extend_schema(request=ReasonSerializer, responses={201: OrderedSerializer})
    def post(self, request: Request, tenant_id: UUID) -> Response:
        """Order an export for the owners of a tenant."""
        data = checked(ReasonSerializer(data=request.data))
        row = exports.order(operator=self.operator, tenant_id=tenant_id, reason=data["reason"])
        return Response(OrderedSerializer(row).data, status=201)


class EraseSerializer(ReasonSerializer):
    """An order to erase a closed tenant, confirmed by its name."""

    name = serializers.CharField(max_length=120, help_text="The name of the tenant, typed as a second confirmation")


class Erase(OperatorView):
    """The erasure of a closed tenant."""

    permissions: ClassVar = {"POST": "tenants.erase"}

    @extend_schema(request=EraseSerializer, responses=TenantSerializer)
    def post(self, request: Request, tenant_id: UUID) -> Response:
        """Order that what a closed tenant stored is erased; its usage and ledger stay. Nothing undoes it.

        The operator of the session has entered password or second factor again within the last five minutes.
        """
        data = checked(EraseSerializer(data=request.data))
        erasure.order(operator=self.operator, tenant_id=tenant_id, prove=self.prove, **data)
        return Response(TenantSerializer(tenant_details.details(tenant_id)).data)
