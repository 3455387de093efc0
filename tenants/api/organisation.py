"""REST endpoints for the caller, the organisation, projects and keys."""

from typing import Any
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants import operations, queries
from tenants.access.standing import STANDINGS, TakesAway
from tenants.api.access_shapes import KeyAccessSerializer
from tenants.grants import key_reasons
from tenants.identity import api_keys
from tenants.models import Tenant
from tenants.web.body_fields import Moment, checked
from tenants.web.openapi import page_of
from tenants.web.views import ApiView


class MeSerializer(serializers.Serializer[Any]):
    """Identity of the key or session."""

    tenant = serializers.DictField(help_text="id, slug, name, timezone, currency")
    actor = serializers.DictField(help_text="kind, id, label")
    role = serializers.CharField()
    scopes = serializers.ListField(child=serializers.CharField(), help_text="In the whole organisation")
    in_projects = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField()), help_text="Further scopes, by the id of a project"
    )


class OrganisationSerializer(serializers.Serializer[Any]):
    """Settings of the organisation."""

    slug = serializers.CharField(read_only=True)
    name = serializers.CharField(max_length=120)
    timezone = serializers.CharField(max_length=64)
    currency = serializers.CharField(read_only=True)
    self_approval = serializers.BooleanField(
        help_text="The only member may approve their own requests; applies while there is one member"
    )
    second_factor_required = serializers.BooleanField(help_text="Members need a second factor; keys do not")
    standing = serializers.ChoiceField(
        STANDINGS, read_only=True, help_text="What operators let it do: see the errors `tenant_suspended`"
    )
    standing_reason = serializers.CharField(read_only=True, help_text="Why it is not active; empty otherwise")
    closes_at = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="When it closes, while it is being closed; until then it exports"
    )


class ProjectSerializer(serializers.Serializer[Any]):
    """A project (cost centre)."""

    id = serializers.UUIDField(read_only=True)
    slug = serializers.CharField(max_length=50)
    name = serializers.CharField(max_length=120)
    restricted = serializers.BooleanField(
        default=False, help_text="Only those with a grant in it, owners and admins see what it holds"
    )
    archived_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="Since when nothing new starts")
    created_at = serializers.DateTimeField(read_only=True)


class ProjectChangeSerializer(serializers.Serializer[Any]):
    """What may change of a project; omitted fields stay."""

    name = serializers.CharField(max_length=120, required=False)
    restricted = serializers.BooleanField(required=False)
    archived = serializers.BooleanField(required=False, help_text="true: nothing new starts in it; false: restore it")


class ApiKeySerializer(serializers.Serializer[Any]):
    """An API key without its secret."""

    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(max_length=120)
    prefix = serializers.CharField(read_only=True, help_text="How the key begins")
    scopes = serializers.ListField(child=serializers.CharField())
    created_by = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    expires_at = Moment(required=False, allow_null=True)
    revoked_at = serializers.DateTimeField(read_only=True, allow_null=True)
    last_used_at = serializers.DateTimeField(read_only=True, allow_null=True)
    parent_key_id = serializers.UUIDField(read_only=True, allow_null=True, help_text="The key that made it")
    replaced_by = serializers.UUIDField(read_only=True, allow_null=True, help_text="The key that a rotation made of it")
    service_account_id = serializers.UUIDField(
        read_only=True, allow_null=True, help_text="The service account that it belongs to; null: a member"
    )
    project_id = serializers.UUIDField(
        read_only=True, allow_null=True, help_text="The project that it is limited to; null: the whole organisation"
    )
    access = KeyAccessSerializer(
        read_only=True, allow_null=True, help_text="null if the key has ended, and without `members.view`"
    )
    project_withheld = serializers.BooleanField(
        read_only=True, help_text="It is limited to a project that is not shared with you; `project_id` is null"
    )


class NewApiKeySerializer(serializers.Serializer[Any]):
    """A new API key; `key` is returned only once, and null in repeated responses."""

    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(max_length=120)
    scopes = serializers.ListField(child=serializers.CharField())
    expires_at = Moment(required=False, allow_null=True)
    service_account_id = serializers.UUIDField(
        required=False, allow_null=True, help_text="Create it for this service account, with scopes of its rights"
    )
    project_id = serializers.UUIDField(required=False, allow_null=True, help_text="Limit it to this project")
    key = serializers.CharField(read_only=True, allow_null=True)


class RotationSerializer(serializers.Serializer[Any]):
    """How a key is replaced."""

    overlap_hours = serializers.IntegerField(
        default=24, min_value=0, max_value=api_keys.MOST_OVERLAP_H, help_text="How long the old key still works"
    )


class RotatedKeySerializer(serializers.Serializer[Any]):
    """The key that replaces another; `key` is returned only once, and null in repeated responses."""

    id = serializers.UUIDField()
    key = serializers.CharField(allow_null=True)


class Me(ApiView):
    """The tenant, the actor, its role and scopes."""

    permissions = {"GET": "tenant.view"}

    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """Return the identity of the key or session."""
        actor, tenant = self.actor, self.tenant
        here = {name: getattr(tenant, name) for name in ("id", "slug", "name", "timezone", "currency")}
        me = {"kind": actor.kind, "id": actor.id, "label": actor.label}
        further = {str(project): sorted(allowed) for project, allowed in actor.in_projects.items()}
        scopes = sorted(actor.permissions)
        answer = {"tenant": here, "actor": me, "role": actor.role, "scopes": scopes, "in_projects": further}
        return Response(MeSerializer(answer).data)


class Organisation(ApiView):
    """The organisation's settings."""

    permissions = {"GET": "tenant.view", "PATCH": "tenant.manage"}

    @extend_schema(responses=OrganisationSerializer)
    def get(self, request: Request) -> Response:
        """Return name, short name, time zone, currency, and the rules for its members."""
        return Response(OrganisationSerializer(Tenant.objects.get(id=self.actor.tenant_id)).data)

    @extend_schema(request=OrganisationSerializer, responses=OrganisationSerializer)
    def patch(self, request: Request) -> Response:
        """Change name, time zone, `self_approval` or `second_factor_required`; omitted fields stay."""
        tenant = Tenant.objects.get(id=self.actor.tenant_id)
        data = checked(OrganisationSerializer(data=request.data, partial=True))
        known = {"name": tenant.name, "timezone": tenant.timezone}
        operations.change_tenant(actor=self.actor, **known | data)
        return self.get(request)


class Projects(ApiView):
    """Projects (cost centres)."""

    permissions = {"GET": "projects.view", "POST": "projects.manage"}

    @extend_schema(operation_id="projects_list", responses=page_of(ProjectSerializer))
    def get(self, request: Request) -> Response:
        """List projects by short name."""
        return self.whole(queries.projects(), ProjectSerializer)

    @extend_schema(request=ProjectSerializer, responses={201: ProjectSerializer})
    def post(self, request: Request) -> Response:
        """Create a project."""
        data = checked(ProjectSerializer(data=request.data))
        return Response(ProjectSerializer(operations.create_project(actor=self.actor, **data)).data, status=201)


class OneProject(ApiView):
    """One project."""

    permissions = {"GET": "projects.view", "PATCH": "projects.manage"}

    @extend_schema(responses=ProjectSerializer)
    def get(self, request: Request, project_id: UUID) -> Response:
        """Return a project."""
        return Response(ProjectSerializer(queries.project(project_id)).data)

    @extend_schema(request=ProjectChangeSerializer, responses=ProjectSerializer)
    def patch(self, request: Request, project_id: UUID) -> Response:
        """Rename, restrict, archive or restore a project."""
        data = checked(ProjectChangeSerializer(data=request.data))
        archived = data.pop("archived", None)
        if archived is not None:
            move = operations.archive_project if archived else operations.restore_project
            move(actor=self.actor, project_id=project_id)
        # Last, and answered from it: a person who restricts a project may see into it no more.
        row = operations.change_project(actor=self.actor, project_id=project_id, **data)
        return Response(ProjectSerializer(row).data)


class ApiKeys(ApiView):
    """Keys for programs."""

    permissions = {"GET": "apikeys.view", "POST": "apikeys.manage"}
    shown_once = frozenset({"key"})

    @extend_schema(responses=page_of(ApiKeySerializer))
    def get(self, request: Request) -> Response:
        """List keys without their secrets."""
        return self.whole(key_reasons.explained(self.actor, queries.api_keys()), ApiKeySerializer)

    @extend_schema(request=NewApiKeySerializer, responses={201: NewApiKeySerializer})
    def post(self, request: Request) -> Response:
        """Create a key. Only this response contains its secret."""
        data = checked(NewApiKeySerializer(data=request.data))
        key = api_keys.create_api_key(
            actor=self.actor,
            name=data["name"],
            scopes=data["scopes"],
            expires_at=data.get("expires_at"),
            service_account_id=data.get("service_account_id"),
            project_id=data.get("project_id"),
        )
        made = {
            "expires_at": None,
            "service_account_id": None,
            "project_id": None,
            **data,
            "id": key.id,
            "key": key.secret,
        }
        return Response(NewApiKeySerializer(made).data, status=201)


class ApiKeyRotation(ApiView):
    """Replacement of a key."""

    permissions = {"POST": "apikeys.manage"}
    shown_once = frozenset({"key"})

    @extend_schema(request=RotationSerializer, responses={201: RotatedKeySerializer})
    def post(self, request: Request, key_id: UUID) -> Response:
        """Create a key with the same name, scopes and project; the old one works for some hours more."""
        data = checked(RotationSerializer(data=request.data))
        made = api_keys.rotate_api_key(actor=self.actor, key_id=key_id, **data)
        return Response(RotatedKeySerializer({"id": made.id, "key": made.secret}).data, status=201)


class OneApiKey(ApiView):
    """One API key."""

    permissions = {"DELETE": TakesAway("apikeys.manage")}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, key_id: UUID) -> Response:
        """Revoke the key, effective with the next request."""
        api_keys.revoke_api_key(actor=self.actor, key_id=key_id)
        return Response(status=204)
