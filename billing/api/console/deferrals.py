"""REST endpoints of deferrals: launches go on despite an overdue invoice."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.dunning import deferring
from billing.queries import issued
from billing.queries.owed import deferrals
from tenants.fields.days import Day
from tenants.isolation.scoping import tenant_scope
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of


class NewDeferralSerializer(ReasonSerializer):
    """Until when launches go on, and why."""

    until = Day(help_text="that day of the organisation included; yesterday ends a deferral")


class DeferralSerializer(serializers.Serializer[Any]):
    """A deferral; the newest one counts."""

    until = serializers.DateField()
    reason = serializers.CharField()
    deferred_by = serializers.CharField()
    deferred_at = serializers.DateTimeField()


class Deferrals(OperatorView):
    """The deferrals of an invoice that would stop launches."""

    permissions: ClassVar = {"GET": "invoices.view", "POST": "invoices.manage"}

    @extend_schema(operation_id="invoices_deferrals_list", responses=page_of(DeferralSerializer))
    def get(self, request: Request, invoice_id: UUID) -> Response:
        """List the deferrals of an invoice, the newest first."""
        with tenant_scope(issued.tenant_of(invoice_id)):
            return self.whole(deferrals.of_invoice(invoice_id), DeferralSerializer)

    @extend_schema(request=NewDeferralSerializer, responses={201: DeferralSerializer})
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Let launches go on despite an unpaid invoice until a day."""
        data = checked(NewDeferralSerializer(data=request.data))
        tenant_id = issued.tenant_of(invoice_id)
        deferring.defer(operator=self.operator, tenant_id=tenant_id, invoice_id=invoice_id, **data)
        with tenant_scope(tenant_id):
            newest = deferrals.of_invoice(invoice_id)[0]
        return Response(DeferralSerializer(newest).data, status=201)
