"""REST endpoints of invitations: list, issue, revoke."""

from dataclasses import asdict
from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.access.permissions import ROLES
from tenants.identity import invitation_queries, invitations
from tenants.parsing import parse_uuid
from tenants.web.openapi import page_of
from tenants.web.views import ApiView


class InvitationSerializer(serializers.Serializer[Any]):
    """An invitation. Only the email contains the link."""

    id = serializers.UUIDField(read_only=True)
    email = serializers.EmailField(max_length=254)
    role = serializers.ChoiceField(choices=ROLES)
    invited_by = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    expires_at = serializers.DateTimeField(read_only=True)
    state = serializers.CharField(read_only=True, help_text="open, accepted, revoked or expired")


class Invitations(ApiView):
    """Invitations of the tenant."""

    permissions = {"GET": "members.manage", "POST": "members.manage"}

    @extend_schema(responses=page_of(InvitationSerializer))
    def get(self, request: Request) -> Response:
        """List invitations, newest first."""
        after = self.cursor(1)
        before = parse_uuid(after[0], "cursor") if after else None
        rows = invitation_queries.invitations(before=before, limit=self.page_size())
        return self.paginated(rows, asdict, lambda row: [row.id])

    @extend_schema(request=InvitationSerializer, responses={201: InvitationSerializer})
    def post(self, request: Request) -> Response:
        """Invite an address; an open invitation of the same address is revoked."""
        serializer = InvitationSerializer(data=request.data)
        serializer.is_valid(raise_exception=True)
        data = serializer.validated_data
        row = invitations.invite(actor=self.actor, email=data["email"], role=data["role"])
        return Response(InvitationSerializer(invitation_queries.as_row(row)).data, status=201)


class OneInvitation(ApiView):
    """One invitation of the tenant."""

    permissions = {"DELETE": "members.manage"}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, invitation_id: UUID) -> Response:
        """Revoke the invitation; its link no longer works."""
        invitations.revoke(actor=self.actor, invitation_id=invitation_id)
        return Response(status=204)
