"""REST endpoints of disputes and comments, for the seller."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.agreements.serializers import ListedDisputeSerializer, TextSerializer, ThreadSerializer
from billing.invoices import commenting, disputes, disputing
from billing.models.disputes import DISPUTE_STATES
from billing.queries import issued
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope
from tenants.operators.api.base import OperatorView
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE


class SellersThreadSerializer(ThreadSerializer):
    """A dispute with its messages, for the seller."""

    dispute = ListedDisputeSerializer(source="row")


class AnswerSerializer(TextSerializer):
    """How the seller ends a dispute, and what it says."""

    outcome = serializers.ChoiceField(choices=["agreed", "declined"])


class CommentSerializer(serializers.Serializer[Any]):
    """What an operator noted."""

    text = serializers.CharField()
    by = serializers.CharField()
    at = serializers.DateTimeField()


class Disputes(OperatorView):
    """The disputes of all organisations."""

    permissions: ClassVar = {"GET": "invoices.view"}

    @extend_schema(
        operation_id="disputes_list",
        parameters=[OpenApiParameter("state", str, enum=DISPUTE_STATES), *PAGE],
        responses=page_of(ListedDisputeSerializer),
    )
    def get(self, request: Request) -> Response:
        """List disputes, the newest first."""
        state = request.query_params.get("state", "")
        if state and state not in DISPUTE_STATES:
            raise Invalid(fields={"state": [f"Choose among {', '.join(DISPUTE_STATES)}."]})
        rows = disputes.of_all(state=state, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, ListedDisputeSerializer, lambda row: (row.id,))


class OneDispute(OperatorView):
    """One dispute."""

    permissions: ClassVar = {"GET": "invoices.view"}

    @extend_schema(responses=SellersThreadSerializer)
    def get(self, request: Request, dispute_id: UUID) -> Response:
        """Return a dispute with its messages."""
        return Response(_thread(dispute_id))


class DisputeMessages(OperatorView):
    """The messages of a dispute."""

    permissions: ClassVar = {"POST": "invoices.manage"}

    @extend_schema(request=TextSerializer, responses={201: SellersThreadSerializer})
    def post(self, request: Request, dispute_id: UUID) -> Response:
        """Write to the organisation about an open dispute."""
        data = checked(TextSerializer(data=request.data))
        tenant_id = disputes.tenant_of(dispute_id)
        disputing.reply(operator=self.operator, tenant_id=tenant_id, dispute_id=dispute_id, text=data["text"])
        return Response(_thread(dispute_id), status=201)


class DisputeAnswer(OperatorView):
    """The end of a dispute."""

    permissions: ClassVar = {"POST": "invoices.manage"}

    @extend_schema(request=AnswerSerializer, responses=SellersThreadSerializer)
    def post(self, request: Request, dispute_id: UUID) -> Response:
        """Agree to a dispute, or decline it. Nothing is credited by itself: issue a credit note on the line."""
        data = checked(AnswerSerializer(data=request.data))
        disputing.answer(
            operator=self.operator, tenant_id=disputes.tenant_of(dispute_id), dispute_id=dispute_id, **data
        )
        return Response(_thread(dispute_id))


class Comments(OperatorView):
    """Comments of operators on an invoice."""

    permissions: ClassVar = {"GET": "invoices.view", "POST": "invoices.manage"}

    @extend_schema(operation_id="invoices_comments_list", responses=page_of(CommentSerializer))
    def get(self, request: Request, invoice_id: UUID) -> Response:
        """List the comments, the earliest first."""
        return self.whole(_comments(invoice_id), CommentSerializer)

    @extend_schema(request=TextSerializer, responses={201: CommentSerializer})
    def post(self, request: Request, invoice_id: UUID) -> Response:
        """Note something for other operators; the organisation does not read it. A comment stays."""
        data = checked(TextSerializer(data=request.data))
        tenant_id = issued.tenant_of(invoice_id)
        commenting.comment(operator=self.operator, tenant_id=tenant_id, invoice_id=invoice_id, text=data["text"])
        return Response(CommentSerializer(_comments(invoice_id)[-1]).data, status=201)


def _thread(dispute_id: UUID) -> Any:
    with tenant_scope(disputes.tenant_of(dispute_id)):
        return SellersThreadSerializer(disputes.thread(dispute_id)).data


def _comments(invoice_id: UUID) -> list[disputes.Written]:
    with tenant_scope(issued.tenant_of(invoice_id)):
        return disputes.comments(invoice_id)
