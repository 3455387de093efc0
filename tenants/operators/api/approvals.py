"""REST endpoints of the requests of tenants that operators answer."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.approvals.queries import STATES
from tenants.operators.answers import answering, queries
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of

STATE = OpenApiParameter("state", str, description=f"One of {', '.join(STATES)}; all without it.")


class TenantRequestSerializer(serializers.Serializer[Any]):
    """A request of a tenant that operators answer, in the unit of its resource."""

    id = serializers.UUIDField()
    tenant_id = serializers.UUIDField()
    tenant_slug = serializers.CharField()
    tenant_name = serializers.CharField()
    kind = serializers.CharField()
    title = serializers.CharField()
    sentence = serializers.CharField(help_text="What is wanted")
    requester = serializers.CharField(source="requester_label")
    resource = serializers.CharField()
    current = serializers.FloatField(allow_null=True, help_text="What held when it was asked")
    wanted = serializers.IntegerField(allow_null=True)
    until = serializers.DateTimeField(allow_null=True, help_text="When it is to end by itself; null permanently")
    reason = serializers.CharField()
    state = serializers.CharField(help_text=", ".join(STATES))
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    answered_at = serializers.DateTimeField(allow_null=True)
    answer_reason = serializers.CharField()
    may_answer = serializers.BooleanField(help_text="Whether the caller can approve or decline it now")


class Requests(OperatorView):
    """What tenants ask of operators."""

    permissions: ClassVar = {"GET": "quotas.view"}

    @extend_schema(operation_id="approvals_list", parameters=[STATE], responses=page_of(TenantRequestSerializer))
    def get(self, request: Request) -> Response:
        """List the requests of all tenants, newest first."""
        state = request.query_params.get("state", "")
        rows = queries.requests(self.operator, state=state, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, TenantRequestSerializer, lambda row: (row.id,))


class RequestAnswered(OperatorView):
    """The answer to a request."""

    granted = False
    permissions: ClassVar = {"POST": "approvals.answer"}

    @extend_schema(request=ReasonSerializer, responses=TenantRequestSerializer)
    def post(self, request: Request, approval_id: UUID) -> Response:
        """Answer a request, for a reason that the tenant reads; approving applies it."""
        data = checked(ReasonSerializer(data=request.data))
        answering.answer(operator=self.operator, approval_id=approval_id, granted=self.granted, **data)
        (row,) = queries.requests(self.operator, only=approval_id)
        return Response(TenantRequestSerializer(row).data)
