"""Who asks the console's API, by key or session, and what they may."""

from __future__ import annotations

from typing import Any, cast

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.plumbing import build_bearer_security_scheme_object
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from tenants.access.operator_roles import OPERATOR_PERMISSIONS
from tenants.identity.authentication import bearer
from tenants.identity.second_factor import SecondFactorMissing, is_proven
from tenants.operators.keys import operator_by_key
from tenants.operators.middleware import second_factor_required
from tenants.operators.operator import Operator
from tenants.operators.pages import operator_of
from tenants.web import rate_limits

#: What every operator may, with whatever role: read about themselves, and manage their own keys.
OWN = "own"


class OperatorAuthentication(SessionAuthentication):
    """Finds the operator by key or session; a session must also pass the CSRF check."""

    def authenticate(self, request: Request) -> tuple[Any, Any] | None:
        """Return (user, operator), or None for an anonymous request."""
        plain = request._request
        if (secret := bearer(plain)) is not None:
            rate_limits.take(plain, "operator", secret[:200])
            operator = operator_by_key(plain, secret)
            if operator is None:
                raise AuthenticationFailed("This key is unknown, expired or revoked.")
            return plain.user, operator
        if not plain.user.is_authenticated:
            return None
        self.enforce_csrf(request)
        if second_factor_required() and not is_proven(plain):
            raise SecondFactorMissing
        return plain.user, operator_of(plain)

    def authenticate_header(self, request: Request) -> str:
        """Return the header that makes an anonymous request a 401."""
        return 'Bearer realm="exchequer operators"'


class OperatorScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """An operator's key as bearer token; the console's session works too, with the CSRF header."""

    target_class = OperatorAuthentication
    name = "operatorKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, Any]:
        """Return the bearer scheme."""
        scheme: dict[str, Any] = build_bearer_security_scheme_object(header_name="Authorization", token_prefix="Bearer")  # noqa: S106
        return scheme


class OperatorPermission(BasePermission):
    """Lets a request pass if the endpoint declares a permission for its method and a role includes it."""

    message = "Your role does not include this. Ask an administrator of the platform."

    def has_permission(self, request: Request, view: Any) -> bool:
        """Return whether the operator may call this method, or raise why not; one without a handler falls through to 405."""
        method = "GET" if request.method == "HEAD" else request.method or ""
        if not hasattr(view, method.lower()):
            return True
        operator = cast(Operator | None, request.auth)
        if operator is None or not operator.roles:
            return False
        needed = view.permissions.get(method)
        if method == "OPTIONS" or needed == OWN:
            return True
        if needed not in OPERATOR_PERMISSIONS:
            return False
        operator.require(needed)
        return True
