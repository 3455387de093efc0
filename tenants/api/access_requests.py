"""REST endpoint of requests for a role."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.approvals import access_requests
from tenants.approvals.shapes import ApprovalSerializer, answer
from tenants.web.body_fields import Moment, checked
from tenants.web.views import ApiView


class AccessRequestSerializer(serializers.Serializer[Any]):
    """A request for a role, in one project or in the whole organisation; with `until` it ends by itself."""

    role = serializers.CharField(max_length=60, help_text="A built-in role, or the id of one of the organisation's own")
    project_id = serializers.UUIDField(required=False, allow_null=True, help_text="Without it: the whole organisation")
    reason = serializers.CharField(max_length=500)
    until = Moment(required=False, allow_null=True)


class AccessRequests(ApiView):
    """Requests for a role."""

    permissions = {"POST": "tenant.view"}

    @extend_schema(request=AccessRequestSerializer, responses={201: ApprovalSerializer})
    def post(self, request: Request) -> Response:
        """Ask for a role for yourself; who may manage members answers it (`/approvals/`). Keys ask for nothing."""
        data = checked(AccessRequestSerializer(data=request.data))
        row = access_requests.request(actor=self.actor, **data)
        return Response(answer(self.actor, row.id), status=201)
