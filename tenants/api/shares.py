"""REST endpoints of shares, which each app routes for its kinds of objects."""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.access.standing import TakesAway
from tenants.sharing import shares
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.views import ApiView


class SharedWithSerializer(serializers.Serializer[Any]):
    """Somebody with whom an object is shared: a member or a group. Name one of the two to share."""

    user = serializers.UUIDField(source="user_id", required=False, allow_null=True)
    group = serializers.UUIDField(source="group_id", required=False, allow_null=True)
    name = serializers.CharField(read_only=True, help_text="Address of the member, or name of the group")


class Shares(ApiView):
    """Members and groups that may see one object although a restriction or its project hides it."""

    kind: ClassVar[str] = ""

    def shared(self, request: Request, object_id: UUID) -> Response:
        """Return with whom an object is shared."""
        return self.whole(shares.shares_seen(self.actor, self.kind, object_id), SharedWithSerializer)

    def share(self, request: Request, object_id: UUID) -> Response:
        """Share an object."""
        data = checked(SharedWithSerializer(data=request.data))
        who = {"user_id": data.get("user_id"), "group_id": data.get("group_id")}
        row = shares.share(actor=self.actor, kind=self.kind, object_id=object_id, **who)
        return Response(SharedWithSerializer(row).data, status=201)


class OneShare(ApiView):
    """One share."""

    kind: ClassVar[str] = ""

    def end(self, request: Request, object_id: UUID, holder_id: UUID) -> Response:
        """End a share."""
        shares.unshare(actor=self.actor, kind=self.kind, object_id=object_id, holder_id=holder_id)
        return Response(status=204)


def views_of(kind: str, permission: str) -> tuple[type[Shares], type[OneShare]]:
    """Return the views of the shares of one kind of object; its id is the parameter `<kind>_id` of their routes."""
    name, parameter = kind.capitalize(), f"{kind}_id"

    class Many(Shares):
        permissions = {"GET": permission, "POST": permission}

        @extend_schema(
            operation_id=f"{kind}_shares_list",
            responses=page_of(SharedWithSerializer),
            description=f"List with whom a {kind} is shared.",
        )
        def get(self, request: Request, **ids: UUID) -> Response:
            return self.shared(request, ids[parameter])

        @extend_schema(
            request=SharedWithSerializer,
            responses={201: SharedWithSerializer},
            description=f"Share a {kind} with a member or a group.",
        )
        def post(self, request: Request, **ids: UUID) -> Response:
            return self.share(request, ids[parameter])

    class One(OneShare):
        permissions = {"DELETE": TakesAway(permission)}

        @extend_schema(responses={204: None}, description=f"End the share of a {kind} with a member or a group.")
        def delete(self, request: Request, **ids: UUID) -> Response:
            return self.end(request, ids[parameter], ids["holder_id"])

    Many.__name__ = Many.__qualname__ = f"{name}Shares"
    One.__name__ = One.__qualname__ = f"{name}Share"
    Many.kind = One.kind = kind
    return Many, One
