"""REST endpoints of invitations: list, issue, revoke."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.access.permissions import ROLES
from tenants.access.standing import TakesAway
from tenants.identity import invitation_queries, invitations
from tenants.web.body_fields import checked
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
        rows = invitation_queries.invitations(before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, InvitationSerializer, lambda row: [row.id])

    @extend_schema(request=InvitationSerializer, responses={201: InvitationSerializer})
    def post(self, request: Request) -> Response:
        """Invite an address; an open invitation of the same address is revoked."""
        data = checked(InvitationSerializer(data=request.data))
        row = invitations.invite(actor=self.actor, email=data["email"], role=data["role"])
        return Response(InvitationSerializer(invitation_queries.as_row(row)).data, status=201)


class OneInvitation(ApiView):
    """One invitation of the tenant."""

    permissions = {"DELETE": TakesAway("members.manage")}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, invitation_id: UUID) -> Response:
        """Revoke the invitation; its link no longer works."""
        invitations.revoke(actor=self.actor, invitation_id=invitation_id)
        return Response(status=204)
