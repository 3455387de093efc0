"""REST endpoints of the seller's reconciliation: what was found of each organisation, and the order to look again."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.invoice_serializers import OrganisationSerializer
from billing.reconciling import orders
from billing.reconciling.queries import ReconciledTenant, reconciled
from tenants.operators.api.base import OperatorView
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE


class ReconciledSerializer(serializers.Serializer[ReconciledTenant]):
    """What the last reconciliation of an organisation found."""

    tenant = OrganisationSerializer(source="*")
    checked_at = serializers.DateTimeField(allow_null=True, help_text="null: it was never reconciled")
    ok = serializers.BooleanField(
        allow_null=True, help_text="false: nothing of it is finalised until the figures agree"
    )
    faults = serializers.ListField(child=serializers.CharField(), help_text="at most ten")


class NewOrderSerializer(serializers.Serializer[Any]):
    """Whose figures to reconcile."""

    tenant = serializers.UUIDField(required=False, allow_null=True, default=None, help_text="none: all organisations")


class OrderSerializer(serializers.Serializer[orders.Order]):
    """An order to reconcile. It is carried out once `checked_at` of the organisation is later than `ordered_at`."""

    id = serializers.UUIDField()
    tenant = serializers.UUIDField(source="tenant_id", allow_null=True, help_text="null: all organisations")
    ordered_by = serializers.CharField()
    ordered_at = serializers.DateTimeField()


class Reconciliations(OperatorView):
    """The reconciliation of all organisations."""

    permissions: ClassVar = {"GET": "invoices.view", "POST": "invoices.manage"}

    @extend_schema(operation_id="reconciliation_list", parameters=PAGE, responses=page_of(ReconciledSerializer))
    def get(self, request: Request) -> Response:
        """List organisations with what their last reconciliation found."""
        after = self.after(str)
        rows = reconciled(after=after[0] if after else None, limit=self.page_size() + 1)
        return self.paginated(rows, ReconciledSerializer, lambda row: (row.tenant_slug,))

    @extend_schema(request=NewOrderSerializer, responses={202: OrderSerializer})
    def post(self, request: Request) -> Response:
        """Order the reconciliation of one organisation, or of all; an order that waits already is returned."""
        data = checked(NewOrderSerializer(data=request.data))
        made = orders.order(operator=self.operator, tenant_id=data["tenant"])
        return Response(OrderSerializer(made).data, status=202)
