"""REST endpoints of looks inside tenants. They need the person: no key asks for one, answers or opens it."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.conf import settings
from django.utils.http import urlencode
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.operators.api.base import OperatorView
from tenants.operators.api.shapes import ReasonSerializer
from tenants.operators.glass import looks, queries
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of


class NewLookSerializer(serializers.Serializer[Any]):
    """A look to ask for."""

    reason = serializers.CharField(max_length=400, help_text="The owners of the tenant read it")
    minutes = serializers.IntegerField(
        default=looks.ALONE,
        min_value=1,
        max_value=looks.LONGEST,
        help_text=f"More than {looks.ALONE} need a second operator",
    )


class LookSerializer(serializers.Serializer[Any]):
    """A look of an operator inside a tenant."""

    id = serializers.UUIDField()
    tenant = serializers.UUIDField(source="tenant_id")
    tenant_slug = serializers.CharField()
    operator = serializers.CharField(source="operator_label")
    reason = serializers.CharField()
    minutes = serializers.IntegerField()
    needs_second = serializers.BooleanField(help_text="Whether a second operator answers it")
    state = serializers.CharField(help_text=", ".join(queries.STATES))
    asked_at = serializers.DateTimeField()
    answered_by = serializers.CharField(source="answered_label")
    ends_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    entered_at = serializers.DateTimeField(allow_null=True)


class TicketSerializer(serializers.Serializer[Any]):
    """Where a look is opened, once, within two minutes."""

    url = serializers.CharField()


class NewLook(OperatorView):
    """A look inside one tenant."""

    permissions: ClassVar = {"POST": looks.LOOKS}

    @extend_schema(request=NewLookSerializer, responses={201: LookSerializer})
    def post(self, request: Request, tenant_id: UUID) -> Response:
        """Ask to look inside a tenant; it begins at once unless a second operator answers first."""
        data = checked(NewLookSerializer(data=request.data))
        asked = looks.ask(operator=self.operator, tenant_id=tenant_id, **data)
        return Response(LookSerializer(queries.one_look(self.operator, asked)).data, status=201)


class Looks(OperatorView):
    """All looks."""

    permissions: ClassVar = {"GET": "log.view"}

    @extend_schema(responses=page_of(LookSerializer))
    def get(self, request: Request) -> Response:
        """List the looks inside all tenants, newest first."""
        rows = queries.looks(self.operator, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, LookSerializer, lambda row: (row.id,))


class LookApproved(OperatorView):
    """The answer that lets a look begin."""

    permissions: ClassVar = {"POST": looks.LOOKS}

    @extend_schema(request=None, responses=LookSerializer)
    def post(self, request: Request, look_id: UUID) -> Response:
        """Let another operator's look begin."""
        row = looks.approve(operator=self.operator, look_id=look_id)
        return Response(LookSerializer(queries.one_look(self.operator, row)).data)


class LookDeclined(OperatorView):
    """The answer that refuses a look."""

    permissions: ClassVar = {"POST": looks.LOOKS}

    @extend_schema(request=ReasonSerializer, responses={204: None})
    def post(self, request: Request, look_id: UUID) -> Response:
        """Decline another operator's look."""
        data = checked(ReasonSerializer(data=request.data))
        looks.decline(operator=self.operator, look_id=look_id, reason=data["reason"])
        return Response(status=204)


class LookOpened(OperatorView):
    """The ticket of a look."""

    shown_once: ClassVar = frozenset({"url"})
    permissions: ClassVar = {"POST": looks.LOOKS}

    @extend_schema(request=None, responses=TicketSerializer)
    def post(self, request: Request, look_id: UUID) -> Response:
        """Return the address that opens one's own look once, in a browser."""
        ticket = urlencode({"ticket": looks.ticket(operator=self.operator, look_id=look_id)})
        return Response(
            TicketSerializer({"url": f"{settings.EXCHEQUER.effective_public_url}/look-inside/?{ticket}"}).data
        )


class LookEnded(OperatorView):
    """The end of a look."""

    permissions: ClassVar = {"POST": looks.LOOKS}

    @extend_schema(request=None, responses={204: None})
    def post(self, request: Request, look_id: UUID) -> Response:
        """End a look at once: one's own, or as an administrator another's."""
        looks.end(operator=self.operator, look_id=look_id)
        return Response(status=204)
