"""REST endpoints for paying: the page at which an invoice is paid."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.collecting.links import payment_page
from tenants.web.views import ApiView


class PayAtSerializer(serializers.Serializer[Any]):
    """Where an invoice is paid."""

    url = serializers.URLField(help_text="the page of the payment provider, for a browser")


class Pay(ApiView):
    """Paying an invoice."""

    permissions = {"POST": "invoices.manage"}

    @extend_schema(request=None, responses=PayAtSerializer)
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Return the page at which an unpaid invoice is paid. Nothing is charged by this call."""
        return Response(PayAtSerializer({"url": payment_page(invoice_id)}).data)
