"""REST endpoints of disputes, for the organisation: open one, read them, write, withdraw."""

from __future__ import annotations

from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.agreements.serializers import DisputeSerializer, NewDisputeSerializer, TextSerializer, ThreadSerializer
from billing.invoices import disputes, disputing
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView


class OpenDispute(ApiView):
    """A dispute to open on an invoice."""

    permissions = {"POST": "invoices.manage"}

    @extend_schema(request=NewDisputeSerializer, responses={201: ThreadSerializer})
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Dispute a line of a draft or a finalised invoice. The seller is notified, and answers."""
        data = checked(NewDisputeSerializer(data=request.data))
        made = disputing.open_dispute(
            actor=self.actor, invoice_id=invoice_id, line_id=data["line"], reason=data["reason"]
        )
        return Response(ThreadSerializer(disputes.thread(made)).data, status=201)


class Disputes(ApiView):
    """The disputes of the organisation's invoices."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(operation_id="disputes_list", parameters=PAGE, responses=page_of(DisputeSerializer))
    def get(self, request: Request) -> Response:
        """List disputes, the newest first."""
        rows = disputes.of_tenant(before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, DisputeSerializer, lambda row: (row.id,))


class OneDispute(ApiView):
    """One dispute."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(responses=ThreadSerializer)
    def get(self, request: Request, dispute_id: UUID) -> Response:
        """Return a dispute with its messages."""
        return Response(ThreadSerializer(disputes.thread(dispute_id)).data)


class DisputeMessages(ApiView):
    """The messages of a dispute."""

    permissions = {"POST": "invoices.manage"}

    @extend_schema(request=TextSerializer, responses={201: ThreadSerializer})
    def post(self, request: Request, dispute_id: UUID) -> Response:
        """Write to the seller about an open dispute."""
        data = checked(TextSerializer(data=request.data))
        disputing.write(actor=self.actor, dispute_id=dispute_id, text=data["text"])
        return Response(ThreadSerializer(disputes.thread(dispute_id)).data, status=201)


class DisputeWithdrawn(ApiView):
    """The withdrawal of a dispute."""

    permissions = {"POST": "invoices.manage"}

    @extend_schema(request=None, responses=ThreadSerializer)
    def post(self, request: Request, dispute_id: UUID) -> Response:
        """Take a dispute back."""
        disputing.withdraw(actor=self.actor, dispute_id=dispute_id)
        return Response(ThreadSerializer(disputes.thread(dispute_id)).data)
