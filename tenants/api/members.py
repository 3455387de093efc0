"""REST endpoints of members: list, invite, change, remove, and preview of a departure."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants import queries
from tenants.access.standing import TakesAway
from tenants.errors import Invalid
from tenants.identity import invitations, members
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.views import ApiView

JOBS = OpenApiParameter("jobs", str, description="keep, cancel, or the id of the member who takes them over")
KEYS = OpenApiParameter("endpoint_keys", str, description="revoke, or adopt: an owner becomes their creator")


class MemberSerializer(serializers.Serializer[Any]):
    """A member of the organisation."""

    user_id = serializers.UUIDField(read_only=True)
    email = serializers.EmailField()
    name = serializers.CharField(required=False, allow_blank=True, max_length=120)
    role = serializers.CharField()
    since = serializers.DateTimeField(read_only=True)


class InvitedMemberSerializer(serializers.Serializer[Any]):
    """A person invited to become a member. Whether the address has an account is not revealed."""

    user_id = serializers.UUIDField(allow_null=True, help_text="null until the invitation is accepted")
    email = serializers.EmailField()
    name = serializers.CharField(help_text="Empty: people enter their own name")
    role = serializers.CharField()
    since = serializers.DateTimeField(allow_null=True)
    invitation = serializers.UUIDField()
    expires_at = serializers.DateTimeField()


class DescendantSerializer(serializers.Serializer[Any]):
    """A credential that descends from a member."""

    kind = serializers.CharField(help_text="apikey, invitation or endpointkey")
    id = serializers.UUIDField()
    name = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class DepartureSerializer(serializers.Serializer[Any]):
    """What a member would leave behind."""

    credentials = DescendantSerializer(many=True, help_text="Credentials that are revoked with the membership")
    known = DescendantSerializer(
        many=True, help_text="Keys of service accounts that the member made: they continue, and should be rotated"
    )
    adopted = serializers.ListField(child=serializers.UUIDField(), help_text="Endpoint keys that continue to work")
    jobs = serializers.DictField(child=serializers.IntegerField(), help_text="Open jobs of the member, by state")


class AdoptionSerializer(serializers.Serializer[Any]):
    """Adopted endpoint keys."""

    adopted = serializers.ListField(child=serializers.UUIDField())


class Members(ApiView):
    """People of the tenant."""

    permissions = {"GET": "members.view", "POST": "members.manage"}

    @extend_schema(responses=page_of(MemberSerializer))
    def get(self, request: Request) -> Response:
        """List members by address."""
        return self.whole(queries.members(), MemberSerializer)

    @extend_schema(request=MemberSerializer, responses={201: InvitedMemberSerializer})
    def post(self, request: Request) -> Response:
        """Invite a person with a role; they are a member once they accept."""
        data = checked(MemberSerializer(data=request.data))
        row = invitations.invite(actor=self.actor, email=data["email"], role=data["role"])
        nobody_yet = {"user_id": None, "name": "", "since": None}
        invited = {"email": row.email, "role": row.role, "invitation": row.id, "expires_at": row.expires_at}
        return Response(InvitedMemberSerializer(nobody_yet | invited).data, status=201)


class Member(ApiView):
    """One member of the organisation."""

    permissions = {"PATCH": "members.manage", "DELETE": TakesAway("members.manage")}

    @extend_schema(request=MemberSerializer, responses={204: None})
    def patch(self, request: Request, user_id: UUID) -> Response:
        """Change the role; credentials that the new role could not have created are revoked."""
        members.change_role(actor=self.actor, user_id=user_id, role=str(self.body().get("role", "")))
        return Response(status=204)

    @extend_schema(parameters=[JOBS, KEYS], responses={200: DepartureSerializer, 204: None})
    def delete(self, request: Request, user_id: UUID) -> Response:
        """End the membership and revoke all credentials that descend from it.

        200 if something is left behind, else 204.
        """
        jobs, keys = (request.query_params.get(name) for name in ("jobs", "endpoint_keys"))
        left = members.remove_member(
            actor=self.actor, user_id=user_id, jobs=members.parse_jobs(jobs), adopt=_adopts(keys)
        )
        return Response(DepartureSerializer(left).data) if left else Response(status=204)


class MemberDeparture(ApiView):
    """What a member would leave behind."""

    permissions = {"GET": TakesAway("members.manage")}

    @extend_schema(responses=DepartureSerializer)
    def get(self, request: Request, user_id: UUID) -> Response:
        """Return which credentials end with the membership, their last use, and the number of open jobs."""
        return Response(DepartureSerializer(members.departure(actor=self.actor, user_id=user_id)).data)


class MemberAdoption(ApiView):
    """Endpoint keys of a member who is about to leave."""

    permissions = {"POST": "tenant.manage"}

    @extend_schema(request=None, responses=AdoptionSerializer)
    def post(self, request: Request, user_id: UUID) -> Response:
        """Adopt the member's endpoint keys: they then descend from you, and outlive that membership."""
        adopted = members.adopt_endpoint_keys(actor=self.actor, user_id=user_id)
        return Response(AdoptionSerializer({"adopted": adopted}).data)


def _adopts(text: str | None) -> bool:
    if text not in (None, "revoke", "adopt"):
        raise Invalid(fields={"endpoint_keys": ["Use revoke or adopt."]})
    return text == "adopt"
