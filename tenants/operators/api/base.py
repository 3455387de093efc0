"""Base of the console's REST views: what they declare, and one transaction for each request."""

from __future__ import annotations

from typing import Any, cast

from allauth.core.exceptions import ReauthenticationRequired
from django.db import transaction
from django.http import HttpRequest
from django.http.response import HttpResponseBase

from tenants.errors import PermissionDenied
from tenants.models import OperatorIdempotencyKey
from tenants.operators.authentication import OWN, OperatorAuthentication, OperatorPermission
from tenants.operators.operator import Operator
from tenants.operators.pages import require_recent_proof
from tenants.web.idempotency import Asker
from tenants.web.views import OnceView

__all__ = ["OWN", "OperatorView"]


class ProofTooOld(PermissionDenied):
    """Enter your password or second factor again (/accounts/reauthenticate/), then repeat the request within 5 minutes."""

    code = "reauthentication_required"


class OperatorView(OnceView):
    """Base of the console's REST views. Each request is one transaction; a refusal undoes it, and leaves its key unused."""

    authentication_classes = (OperatorAuthentication,)
    permission_classes = (OperatorPermission,)

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        """Respond within a transaction."""
        with transaction.atomic():
            response = super().dispatch(request, *args, **kwargs)
            if response.status_code >= 400:
                transaction.set_rollback(True)
            return response

    @property
    def asker(self) -> Asker:
        """The operator's key, or the operator in a session."""
        return Asker(OperatorIdempotencyKey, {"asker": self.operator.key_id or self.operator.id})

    @property
    def operator(self) -> Operator:
        """The operator of the request."""
        return cast(Operator, self.request.auth)

    def prove(self) -> None:
        """Raise ProofTooOld unless the session's operator entered password or second factor within five minutes."""
        try:
            require_recent_proof(self.request._request)
        except ReauthenticationRequired:
            raise ProofTooOld from None
