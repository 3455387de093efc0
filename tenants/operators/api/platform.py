"""REST endpoints of the platform: who asks, keys, operators and their log."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.access.operator_roles import OPERATOR_PERMISSIONS, OPERATOR_ROLES
from tenants.audit.words import OPERATIONS
from tenants.models import OUTCOMES
from tenants.operators import grants, keys
from tenants.operators.api.base import OWN, OperatorView
from tenants.operators.log import queries
from tenants.parsing import parse_choice, parse_moment
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE


class MeSerializer(serializers.Serializer[Any]):
    """Who asks."""

    operator = serializers.CharField()
    roles = serializers.ListField(child=serializers.CharField())
    permissions = serializers.ListField(child=serializers.CharField())


class OperatorKeySerializer(serializers.Serializer[Any]):
    """A key of the operator's own."""

    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(max_length=120)
    roles = serializers.ListField(child=serializers.ChoiceField(choices=list(OPERATOR_ROLES)))
    expires_at = serializers.DateTimeField(allow_null=True, required=False, default=None)
    created_at = serializers.DateTimeField(read_only=True)
    last_used_at = serializers.DateTimeField(read_only=True, allow_null=True)


class NewKeySerializer(serializers.Serializer[Any]):
    """A new key, whose secret is shown once."""

    id = serializers.UUIDField()
    key = serializers.CharField()


class OperatorSerializer(serializers.Serializer[Any]):
    """An operator."""

    email = serializers.EmailField()
    roles = serializers.ListField(child=serializers.CharField())
    second_factor = serializers.BooleanField()


class ActSerializer(serializers.Serializer[Any]):
    """An entry of the operator log."""

    id = serializers.UUIDField()
    seq = serializers.IntegerField()
    at = serializers.DateTimeField()
    operator = serializers.CharField(source="operator_label")
    action = serializers.CharField()
    operation = serializers.ChoiceField(choices=OPERATIONS, help_text="What the act is to its object.")
    target_type = serializers.CharField()
    target_id = serializers.CharField()
    target_label = serializers.CharField()
    reason = serializers.CharField()
    outcome = serializers.ChoiceField(choices=OUTCOMES)
    credential = serializers.CharField(help_text="The key: `operator_key:ID`. Empty for a session.")
    ip = serializers.CharField()
    request_id = serializers.CharField()
    hash = serializers.SerializerMethodField()

    def get_hash(self, row: queries.ActRow) -> str:
        """Return the hash in hexadecimal."""
        return bytes(row.hash).hex()


class Me(OperatorView):
    """The operator who asks."""

    permissions: ClassVar = {"GET": OWN}

    @extend_schema(responses=MeSerializer)
    def get(self, request: Request) -> Response:
        """Return one's roles and permissions."""
        may = sorted(one for one in OPERATOR_PERMISSIONS if self.operator.can(one))
        me = {"operator": self.operator.label, "roles": self.operator.roles, "permissions": may}
        return Response(MeSerializer(me).data)


class OperatorKeys(OperatorView):
    """The operator's own keys."""

    shown_once: ClassVar = frozenset({"key"})
    permissions: ClassVar = {"GET": OWN, "POST": OWN}

    @extend_schema(responses=page_of(OperatorKeySerializer))
    def get(self, request: Request) -> Response:
        """List one's own live keys, newest first."""
        return self.whole(keys.keys_of(self.operator), OperatorKeySerializer)

    @extend_schema(request=OperatorKeySerializer, responses={201: NewKeySerializer})
    def post(self, request: Request) -> Response:
        """Create a key with some of one's roles. A key cannot create another."""
        made = keys.create(operator=self.operator, **checked(OperatorKeySerializer(data=request.data)))
        return Response(NewKeySerializer({"id": made.id, "key": made.secret}).data, status=201)


class OneOperatorKey(OperatorView):
    """One key of the operator's own."""

    permissions: ClassVar = {"DELETE": OWN}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, key_id: UUID) -> Response:
        """Revoke a key, effective with its next request."""
        keys.revoke(operator=self.operator, key_id=key_id)
        return Response(status=204)


class Operators(OperatorView):
    """All operators."""

    permissions: ClassVar = {"GET": "operators.view"}

    @extend_schema(responses=page_of(OperatorSerializer))
    def get(self, request: Request) -> Response:
        """List operators with their roles."""
        return self.whole(grants.operators(), OperatorSerializer)


LOG_FILTERS = [
    *(OpenApiParameter(name) for name in ("actor", "target_type", "target_id", "since", "until")),
    OpenApiParameter("action", description="How an action begins: `tenants.log_in` finds refused log-ins."),
    OpenApiParameter("outcome", enum=OUTCOMES),
]


class Audit(OperatorView):
    """What operators did."""

    permissions: ClassVar = {"GET": "log.view"}

    @extend_schema(parameters=[*LOG_FILTERS, *PAGE], responses=page_of(ActSerializer))
    def get(self, request: Request) -> Response:
        """List the operator log, newest first."""
        query = request.query_params
        texts = {name: query.get(name, "") for name in ("actor", "action", "target_type", "target_id")}
        since, until = (parse_moment(query[name], name) if query.get(name) else None for name in ("since", "until"))
        outcome = parse_choice(query.get("outcome", ""), "outcome", OUTCOMES)
        only = queries.ActFilter(**texts, outcome=outcome, since=since, until=until)
        rows = queries.acts(only, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, ActSerializer, lambda row: (row.id,))
