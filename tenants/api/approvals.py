"""REST endpoints of approvals, and of requests for higher quotas."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.approvals import elsewhere, queries, quota_requests
from tenants.approvals.shapes import ApprovalSerializer, answer
from tenants.quotas import scopes
from tenants.web.body_fields import Moment, Whole, checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView

STATE = OpenApiParameter("state", str, description="open, approved, declined or expired")


class AnswerSerializer(serializers.Serializer[Any]):
    """Why a request is approved or declined."""

    reason = serializers.CharField(max_length=500, required=False, allow_blank=True)


class QuotaRequestSerializer(serializers.Serializer[Any]):
    """A request for a higher quota, in the resource's unit; with `until` the raise ends by itself."""

    resource = serializers.CharField(max_length=80)
    limit = Whole(min_value=1)
    scope = serializers.CharField(required=False, max_length=300, help_text="As of `/quotas/`; tenant without it")
    reason = serializers.CharField(max_length=500)
    until = Moment(required=False, allow_null=True)


class Approvals(ApiView):
    """Requests that wait for a second person."""

    permissions = {"GET": "approvals.view"}

    @extend_schema(parameters=[STATE, *PAGE], responses=page_of(ApprovalSerializer))
    def get(self, request: Request) -> Response:
        """List one's own requests and those that one may answer, newest first."""
        state = request.query_params.get("state", "")
        rows = queries.approvals(self.actor, state=state, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, ApprovalSerializer, lambda row: (row.id,))


class ApprovalApprove(ApiView):
    """Approves a request."""

    permissions = {"POST": "approvals.answer"}

    @extend_schema(request=AnswerSerializer, responses=ApprovalSerializer)
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Approve it: what was asked for applies at once. Repeating it changes nothing."""
        data = checked(AnswerSerializer(data=request.data))
        row = elsewhere.answer(actor=self.actor, approval_id=approval_id, granted=True, **data)
        return Response(ApprovalSerializer(row).data)


class ApprovalDecline(ApiView):
    """Declines a request."""

    permissions = {"POST": "approvals.answer"}

    @extend_schema(request=AnswerSerializer, responses=ApprovalSerializer)
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Decline it; the requester is notified, with the reason. Repeating it changes nothing."""
        data = checked(AnswerSerializer(data=request.data))
        row = elsewhere.answer(actor=self.actor, approval_id=approval_id, granted=False, **data)
        return Response(ApprovalSerializer(row).data)


class QuotaRequests(ApiView):
    """Requests for higher quotas."""

    permissions = {"POST": "approvals.request"}

    @extend_schema(request=QuotaRequestSerializer, responses={201: ApprovalSerializer})
    def post(self, request: Request) -> Response:
        """Ask for a higher limit; a second person answers it (`/approvals/`)."""
        data = checked(QuotaRequestSerializer(data=request.data))
        scope = scopes.parse(data.pop("scope", ""))
        row = quota_requests.request(actor=self.actor, scope=scope, **data)
        return Response(answer(self.actor, row.id), status=201)
