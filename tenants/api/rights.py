"""REST endpoints of rights: roles, groups, service accounts, grants, and who may do what because of which."""

from typing import Any
from uuid import UUID

from django.db.models import Q
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.access.standing import TakesAway
from tenants.api.access_shapes import AccessSerializer
from tenants.errors import Invalid
from tenants.grants import grants, groups, key_reasons, queries, roles, service_accounts
from tenants.parsing import uuid_in
from tenants.web.body_fields import Moment, checked
from tenants.web.openapi import page_of
from tenants.web.views import ApiView

HOLDERS = {"user_id": "membership__user_id", "group_id": "group_id", "service_account_id": "service_account_id"}


class RoleSerializer(serializers.Serializer[Any]):
    """A role: a set of permissions. The built-in ones have no id."""

    id = serializers.UUIDField(read_only=True, allow_null=True)
    name = serializers.CharField(max_length=60)
    description = serializers.CharField(max_length=200, required=False, allow_blank=True)
    permissions = serializers.ListField(child=serializers.CharField())
    built_in = serializers.BooleanField(read_only=True)


class GroupSerializer(serializers.Serializer[Any]):
    """A group of people."""

    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(max_length=60)
    created_at = serializers.DateTimeField(read_only=True)
    members = serializers.ListField(
        child=serializers.DictField(), read_only=True, help_text="user_id and email of each"
    )


class GroupMemberSerializer(serializers.Serializer[Any]):
    """A person who is to join a group."""

    user_id = serializers.UUIDField()


class ServiceAccountSerializer(serializers.Serializer[Any]):
    """A program with rights of its own."""

    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(max_length=60)
    description = serializers.CharField(max_length=200, required=False, allow_blank=True)
    created_at = serializers.DateTimeField(read_only=True)
    disabled_at = serializers.DateTimeField(read_only=True, allow_null=True)
    keys = serializers.IntegerField(read_only=True, help_text="Number of its keys that work")
    reasons = AccessSerializer(
        many=True, read_only=True, allow_null=True, help_text="Why it may do something; null without `members.view`"
    )


class GrantSerializer(serializers.Serializer[Any]):
    """A role given to one holder: name one of `user_id`, `group_id` and `service_account_id`."""

    id = serializers.UUIDField(read_only=True)
    user_id = serializers.UUIDField(required=False, allow_null=True)
    group_id = serializers.UUIDField(required=False, allow_null=True)
    service_account_id = serializers.UUIDField(required=False, allow_null=True)
    holder = serializers.CharField(read_only=True)
    role = serializers.CharField(required=False, help_text="Name of a built-in role; or else give `role_id`")
    role_id = serializers.UUIDField(required=False, allow_null=True, help_text="Id of a role of the organisation")
    project_id = serializers.UUIDField(required=False, allow_null=True, help_text="null: the whole organisation")
    created_by = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    expires_at = Moment(required=False, allow_null=True)


class Roles(ApiView):
    """Built-in roles, and those of the organisation."""

    permissions = {"GET": "members.view", "POST": "members.manage"}

    @extend_schema(responses=page_of(RoleSerializer))
    def get(self, request: Request) -> Response:
        """List the built-in roles, then the organisation's own by name."""
        return self.whole(queries.roles(), RoleSerializer)

    @extend_schema(request=RoleSerializer, responses={201: RoleSerializer})
    def post(self, request: Request) -> Response:
        """Create a role with permissions that you have."""
        data = checked(RoleSerializer(data=request.data))
        row = roles.create_role(actor=self.actor, **data)
        return Response(_role(row), status=201)


class OneRole(ApiView):
    """A role of the organisation."""

    permissions = {"PATCH": "members.manage", "DELETE": "members.manage"}

    @extend_schema(request=RoleSerializer, responses=RoleSerializer)
    def patch(self, request: Request, role_id: UUID) -> Response:
        """Change the role for all who hold it, effective with their next request; omitted fields stay."""
        data = checked(RoleSerializer(data=request.data, partial=True))
        return Response(_role(roles.change_role(actor=self.actor, role_id=role_id, **data)))

    @extend_schema(responses={204: None})
    def delete(self, request: Request, role_id: UUID) -> Response:
        """Delete a role that nobody holds."""
        roles.delete_role(actor=self.actor, role_id=role_id)
        return Response(status=204)


class Groups(ApiView):
    """Groups of people."""

    permissions = {"GET": "members.view", "POST": "members.manage"}

    @extend_schema(responses=page_of(GroupSerializer))
    def get(self, request: Request) -> Response:
        """List groups by name, with their people."""
        return self.whole(queries.groups(), GroupSerializer)

    @extend_schema(request=GroupSerializer, responses={201: GroupSerializer})
    def post(self, request: Request) -> Response:
        """Create an empty group."""
        data = checked(GroupSerializer(data=request.data))
        row = groups.create_group(actor=self.actor, name=data["name"])
        return Response(
            GroupSerializer({"id": row.id, "name": row.name, "created_at": row.created_at, "members": []}).data,
            status=201,
        )


class OneGroup(ApiView):
    """A group of people."""

    permissions = {"DELETE": TakesAway("members.manage")}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, group_id: UUID) -> Response:
        """Delete the group; its people lose its grants with their next request."""
        groups.delete_group(actor=self.actor, group_id=group_id)
        return Response(status=204)


class GroupMembers(ApiView):
    """The people of a group."""

    permissions = {"POST": "members.manage"}

    @extend_schema(request=GroupMemberSerializer, responses={204: None})
    def post(self, request: Request, group_id: UUID) -> Response:
        """Add a person to the group."""
        data = checked(GroupMemberSerializer(data=request.data))
        groups.add_member(actor=self.actor, group_id=group_id, user_id=data["user_id"])
        return Response(status=204)


class OneGroupMember(ApiView):
    """A person of a group."""

    permissions = {"DELETE": TakesAway("members.manage")}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, group_id: UUID, user_id: UUID) -> Response:
        """Remove a person from the group, effective with their next request."""
        groups.remove_member(actor=self.actor, group_id=group_id, user_id=user_id)
        return Response(status=204)


class ServiceAccounts(ApiView):
    """Programs with rights of their own."""

    permissions = {"GET": "apikeys.view", "POST": "apikeys.manage"}

    @extend_schema(responses=page_of(ServiceAccountSerializer))
    def get(self, request: Request) -> Response:
        """List service accounts by name."""
        accounts = key_reasons.explained_accounts(self.actor, queries.service_accounts())
        return self.whole(accounts, ServiceAccountSerializer)

    @extend_schema(request=ServiceAccountSerializer, responses={201: ServiceAccountSerializer})
    def post(self, request: Request) -> Response:
        """Create a service account without grants or keys."""
        data = checked(ServiceAccountSerializer(data=request.data))
        row = service_accounts.create_service_account(actor=self.actor, **data)
        names = ("id", "name", "description", "created_at", "disabled_at")
        made = {name: getattr(row, name) for name in names} | {"keys": 0, "reasons": None}
        return Response(ServiceAccountSerializer(made).data, status=201)


class OneServiceAccount(ApiView):
    """A program with rights of its own."""

    permissions = {"DELETE": TakesAway("apikeys.manage")}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, account_id: UUID) -> Response:
        """Disable the service account permanently; its keys end with the next request."""
        service_accounts.disable_service_account(actor=self.actor, service_account_id=account_id)
        return Response(status=204)


class Grants(ApiView):
    """Roles given to people, groups and service accounts."""

    permissions = {"GET": "members.view", "POST": "members.manage"}

    @extend_schema(
        parameters=[OpenApiParameter(name, UUID, description="Only grants of this holder") for name in HOLDERS],
        responses=page_of(GrantSerializer),
    )
    def get(self, request: Request) -> Response:
        """List the grants in force."""
        chosen = Q()
        for name, column in HOLDERS.items():
            if text := request.query_params.get(name):
                row_id = uuid_in(text)
                if row_id is None:
                    raise Invalid(fields={name: ["Use an id."]})
                chosen &= Q(**{column: row_id})
        return self.whole(queries.grants(chosen), GrantSerializer)

    @extend_schema(request=GrantSerializer, responses={201: GrantSerializer})
    def post(self, request: Request) -> Response:
        """Give a role, in the whole organisation or in one project. Nobody gives what they do not have."""
        data = checked(GrantSerializer(data=request.data))
        role = data.get("role_id") or data.get("role")
        if role is None or (data.get("role_id") and data.get("role")):
            raise Invalid(fields={"role": ["Name a built-in role, or give the id of one of the organisation's own."]})
        row = grants.give(
            actor=self.actor,
            holder=grants.Holder(**{name: data.get(name) for name in HOLDERS}),
            role=role,
            project_id=data.get("project_id"),
            expires_at=data.get("expires_at"),
        )
        return Response(GrantSerializer(queries.grants(Q(id=row.id))[0]).data, status=201)


class OneGrant(ApiView):
    """A role given to somebody."""

    permissions = {"DELETE": TakesAway("members.manage")}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, grant_id: UUID) -> Response:
        """Withdraw the grant, effective with the holder's next request."""
        grants.withdraw(actor=self.actor, grant_id=grant_id)
        return Response(status=204)


class Access(ApiView):
    """Who may do what, and why."""

    permissions = {"GET": "members.view"}

    @extend_schema(responses=page_of(AccessSerializer))
    def get(self, request: Request) -> Response:
        """List every reason why a person or a service account may do something."""
        return self.whole(list(queries.access()), AccessSerializer)


def _role(row: Any) -> dict[str, Any]:
    names = ("id", "name", "description", "permissions")
    return RoleSerializer({name: getattr(row, name) for name in names} | {"built_in": False}).data
