"""REST endpoints of the caller's own sessions: list, sign out."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants.errors import NotFound
from tenants.identity import sessions
from tenants.web.openapi import page_of
from tenants.web.views import ApiView


class SessionSerializer(serializers.Serializer[Any]):
    """An open session of yours."""

    id = serializers.CharField(help_text="Names the session; not its cookie")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField()
    ip = serializers.CharField(help_text="Address of the log-in")
    user_agent = serializers.CharField(help_text="Browser of the log-in, as it called itself")
    current = serializers.BooleanField(help_text="Whether this request came by it")


class Sessions(ApiView):
    """Your own sessions; API keys have none."""

    permissions = {"GET": "tenant.view", "DELETE": "tenant.view"}

    @extend_schema(responses=page_of(SessionSerializer))
    def get(self, request: Request) -> Response:
        """List your open sessions, newest first."""
        if self.actor.kind != "user" or self.actor.id is None:
            raise NotFound
        rows = sessions.sessions_of(self.actor.id, cookie=request.session.session_key, bound=sessions.bound_to(request))
        return self.whole(rows, SessionSerializer)

    @extend_schema(operation_id="sessions_destroy_others", responses={204: None})
    def delete(self, request: Request) -> Response:
        """Sign out everywhere but here."""
        sessions.end(actor=self.actor, cookie=request.session.session_key, bound=sessions.bound_to(request))
        return Response(status=204)


class OneSession(ApiView):
    """One of your own sessions."""

    permissions = {"DELETE": "tenant.view"}

    @extend_schema(responses={204: None})
    def delete(self, request: Request, session_id: str) -> Response:
        """Sign out that browser, effective with its next request."""
        sessions.end(actor=self.actor, session_id=session_id, bound=sessions.bound_to(request))
        return Response(status=204)
