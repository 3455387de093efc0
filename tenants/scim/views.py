"""Base of the SCIM endpoints: a bearer token, one tenant, one transaction, errors in SCIM's form."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import structlog
from django.db import InterfaceError, OperationalError
from django.http import Http404
from rest_framework.exceptions import APIException
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from tenants.access.actor import Actor, TenantSuspended
from tenants.access.standing import WORDS
from tenants.errors import NotFound
from tenants.identity import authentication
from tenants.identity.providers import scim_tokens
from tenants.isolation.scoping import tenant_scope
from tenants.models import IdentityProvider
from tenants.parsing import StrictJSONParser
from tenants.scim import errors
from tenants.web import problems, rate_limits
from tenants.web.views import Negotiation

METHODS = ("get", "post", "put", "patch", "delete")
READS = frozenset({"GET", "HEAD", "OPTIONS"})


def _in_tenant(method: Callable[..., Response]) -> Callable[..., Response]:
    @functools.wraps(method)
    def run(self: ScimView, request: Request, *args: Any, **kwargs: Any) -> Response:
        with tenant_scope(self.actor.tenant_id):
            return method(self, request, *args, **kwargs)

    return run


class ScimParser(StrictJSONParser):
    """Bodies of SCIM."""

    media_type = "application/scim+json"


class ScimRenderer(JSONRenderer):
    """Answers of SCIM."""

    media_type = "application/scim+json"
    format = "scim"


class ScimView(APIView):
    """One SCIM endpoint. A method runs in the token's tenant, in one transaction."""

    schema = None
    authentication_classes = ()
    permission_classes = ()
    parser_classes = (ScimParser, StrictJSONParser)
    renderer_classes = (ScimRenderer, JSONRenderer)
    content_negotiation_class = Negotiation

    #: Methods that may take somebody's access away: these run while the tenant is being closed.
    takes_away: ClassVar[frozenset[str]] = frozenset()

    actor: Actor
    provider: IdentityProvider

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in METHODS:
            if name in cls.__dict__:
                setattr(cls, name, _in_tenant(cls.__dict__[name]))

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Find out who asks; count the request before the database is asked."""
        super().initial(request, *args, **kwargs)
        token = authentication.bearer(request._request) or ""
        rate_limits.take(request._request, "scim", token[: scim_tokens.LONGEST])
        found = scim_tokens.find(token, authentication.origin_of(request._request))
        if found is None:
            raise errors.Unauthorised
        self.actor, self.provider = found.actor, found.provider
        structlog.contextvars.bind_contextvars(tenant=str(self.actor.tenant_id))
        if self.actor.standing == "closing" and request.method not in READS | self.takes_away:
            raise TenantSuspended(WORDS["closing"])

    def handle_exception(self, exc: Exception) -> Response:
        """Return an error in SCIM's form."""
        if isinstance(exc, Http404):
            exc = NotFound()
        if isinstance(exc, APIException):
            body = errors.body_of(exc.status_code, str(exc.detail), "invalidSyntax" if exc.status_code == 400 else "")
            return Response(body, status=exc.status_code)
        if isinstance(exc, OperationalError | InterfaceError):
            return Response(
                errors.body_of(503, "The database is away. Try again."), status=503, headers={"Retry-After": "5"}
            )
        known = problems.expected(exc)
        if known is None:
            return super().handle_exception(exc)
        status, body, headers = errors.of(known)
        return Response(body, status=status, headers=headers)

    def data(self) -> dict[str, Any]:
        """Return the body, an object. Raises InvalidSyntax."""
        found = self.request.data
        if not isinstance(found, dict):
            raise errors.InvalidSyntax
        return dict(found)


class Nothing(ScimView):
    """Every other path."""

    def get(self, request: Request, **_: Any) -> Response:
        """Answer that there is nothing."""
        raise NotFound

    post = put = patch = delete = get
