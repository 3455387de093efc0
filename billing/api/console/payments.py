"""REST endpoints of the payments of an invoice: listed, recorded by hand, and reversed."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.invoice_serializers import InvoiceSerializer, PaymentSerializer
from billing.invoices import paying
from billing.queries import issued
from tenants.fields.days import Day
from tenants.isolation.scoping import tenant_scope
from tenants.operators.api.base import OperatorView
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of


class ReceivedSerializer(serializers.Serializer[Any]):
    """A payment that arrived."""

    amount = serializers.DecimalField(max_digits=38, decimal_places=12)
    received_on = Day()
    reference = serializers.CharField(required=False, default="", allow_blank=True, max_length=paying.LONGEST_REFERENCE)


class ReversalSerializer(serializers.Serializer[Any]):
    """Why a payment is reversed."""

    reason = serializers.CharField(
        min_length=3, max_length=paying.LONGEST_REFERENCE, help_text="the organisation reads it on the invoice"
    )


class Paid(OperatorView):
    """The payments of an invoice."""

    permissions: ClassVar = {"GET": "invoices.view", "POST": "invoices.manage"}

    @extend_schema(operation_id="invoices_payments_list", responses=page_of(PaymentSerializer))
    def get(self, request: Request, invoice_id: UUID) -> Response:
        """List the payments of an invoice, the newest first."""
        with tenant_scope(issued.tenant_of(invoice_id)):
            return self.whole(issued.payments(invoice_id), PaymentSerializer)

    @extend_schema(request=ReceivedSerializer, responses=InvoiceSerializer)
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Record a payment by hand, in whole or in part."""
        data = checked(ReceivedSerializer(data=request.data))
        paying.mark_paid(
            operator=self.operator,
            tenant_id=issued.tenant_of(invoice_id),
            invoice_id=invoice_id,
            received=paying.Received(**data),
        )
        return Response(InvoiceSerializer(issued.for_seller(invoice_id)[1]).data)


class Reversed(OperatorView):
    """The reversal of a payment that was recorded wrongly."""

    permissions: ClassVar = {"POST": "invoices.manage"}

    @extend_schema(request=ReversalSerializer, responses=InvoiceSerializer)
    def post(self, request: Request, invoice_id: UUID, payment_id: UUID) -> Response:
        """Take back a payment that was recorded by hand and never arrived: what it paid is due again."""
        data = checked(ReversalSerializer(data=request.data))
        paying.reverse(
            operator=self.operator,
            tenant_id=issued.tenant_of(invoice_id),
            invoice_id=invoice_id,
            payment_id=payment_id,
            reason=data["reason"],
        )
        return Response(InvoiceSerializer(issued.for_seller(invoice_id)[1]).data)
