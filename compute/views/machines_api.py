"""REST endpoints of the console for machines that join: tokens, draining a node, and ending one."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from compute.fleet import machines
from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of


class NodeTokenSerializer(serializers.Serializer[Any]):
    """A token that still lets one machine in."""

    id = serializers.UUIDField()
    name = serializers.CharField(source="node_name")
    pool = serializers.BooleanField(help_text="It lets in every machine whose name is this one, a dash, and more.")
    made_by = serializers.CharField(source="made_by_label")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()


class NewNodeTokenSerializer(ReasonSerializer):
    """The node that a machine is to become, and why."""

    name = serializers.CharField(max_length=120, help_text="Letters a to z, digits, dots and dashes.")
    pool = serializers.BooleanField(
        default=False, help_text="For every machine whose name is this one, a dash, and more; for a year."
    )


class MadeNodeTokenSerializer(serializers.Serializer[Any]):
    """A new token, whose secret is shown once."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    pool = serializers.BooleanField()
    token = serializers.CharField()
    expires_at = serializers.DateTimeField()


class NodeLabelsSerializer(ReasonSerializer):
    """The labels that a node is to carry, and why."""

    labels = serializers.DictField(
        child=serializers.CharField(), help_text='All of them, such as `{"zone": "eu"}`; empty for none.'
    )


class NodeTokens(OperatorView):
    """Tokens by which machines join."""

    permissions: ClassVar = {"GET": "fleet.view", "POST": "fleet.manage"}
    shown_once = frozenset({"token"})

    @extend_schema(responses=page_of(NodeTokenSerializer))
    def get(self, request: Request) -> Response:
        """List the newest 50 tokens that still let a machine in; their secrets are not kept."""
        return self.whole(machines.open_tokens(), NodeTokenSerializer)

    @extend_schema(request=NewNodeTokenSerializer, responses={201: MadeNodeTokenSerializer})
    def post(self, request: Request) -> Response:
        """Make a token that lets one machine join as the node of that name, within an hour; a known node gets new credentials.

        One of a pool lets in its machines for a year, as often as they start.
        """
        data = checked(NewNodeTokenSerializer(data=request.data))
        row, secret = machines.make_token(
            operator=self.operator, name=data["name"], reason=data["reason"], pool=data["pool"]
        )
        made = {"id": row.id, "name": row.node_name, "pool": row.pool, "token": secret, "expires_at": row.expires_at}
        return Response(MadeNodeTokenSerializer(made).data, status=201)


class NodeTokenRevoked(OperatorView):
    """The end of a token."""

    permissions: ClassVar = {"POST": "fleet.manage"}

    @extend_schema(request=ReasonSerializer, responses={204: None})
    def post(self, request: Request, token_id: UUID) -> Response:
        """Let nobody in by this token."""
        data = checked(ReasonSerializer(data=request.data))
        machines.revoke_token(operator=self.operator, token_id=token_id, reason=data["reason"])
        return Response(status=204)


class NodeAct(OperatorView):
    """What operators do with a node."""

    act = "drain"
    permissions: ClassVar = {"POST": "fleet.manage"}

    @extend_schema(request=ReasonSerializer, responses={204: None})
    def post(self, request: Request, node_id: UUID) -> Response:
        """Drain a node (no new work; what runs goes on), return it to work, or end its login and its sessions at once."""
        data = checked(ReasonSerializer(data=request.data))
        machines.ACTS[self.act](operator=self.operator, node_id=node_id, reason=data["reason"])
        return Response(status=204)


class NodeLabels(OperatorView):
    """The labels of a node."""

    permissions: ClassVar = {"PUT": "fleet.manage"}

    @extend_schema(request=NodeLabelsSerializer, responses={204: None})
    def put(self, request: Request, node_id: UUID) -> Response:
        """Give a node these labels and take all others. Jobs may ask for them; what runs there goes on."""
        data = checked(NodeLabelsSerializer(data=request.data))
        machines.label(operator=self.operator, node_id=node_id, labels=data["labels"], reason=data["reason"])
        return Response(status=204)
