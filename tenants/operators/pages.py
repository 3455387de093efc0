"""Pages of the console: each names the permission that it needs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import nullcontext
from typing import Concatenate, ParamSpec, cast

from allauth.account.decorators import reauthentication_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from tenants.models import OperatorGrant, User
from tenants.operators.operator import Operator

P = ParamSpec("P")
View = Callable[P, HttpResponseBase]


class OperatorRequest(HttpRequest):
    """A request of a console's page. Nothing is an instance of it: `operator_page` makes a plain request one."""

    operator: Operator


def operator_page(
    permission: str, *, one_transaction: bool = True
) -> Callable[[Callable[Concatenate[OperatorRequest, P], HttpResponseBase]], View[Concatenate[HttpRequest, P]]]:
    """Make a function a page of the console: `view(request: OperatorRequest, ...)`, in one transaction.

    Without `one_transaction` each operation of the page commits by itself: for pages that do many things at once.
    Django's middleware has asked for the log-in. Raises OperatorLacks without the permission.
    """

    def decorate(
        view: Callable[Concatenate[OperatorRequest, P], HttpResponseBase],
    ) -> View[Concatenate[HttpRequest, P]]:
        @functools.wraps(view)
        def run(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
            entered = cast(OperatorRequest, request)
            entered.operator = operator_of(request)
            entered.operator.require(permission)
            with transaction.atomic() if one_transaction else nullcontext():
                return view(entered, *args, **kwargs)

        run.operator_permission = permission  # type: ignore[attr-defined]
        return run

    return decorate


def require_recent_proof(request: HttpRequest) -> None:
    """Raise allauth's ReauthenticationRequired unless the session's operator proved who they are within five minutes.

    Its middleware asks for the password or the second factor, then repeats a page's request.
    """
    reauthentication_required(lambda _: HttpResponse())(request)


def operator_of(request: HttpRequest) -> Operator:
    """Return the operator of a session that Django has checked, with the roles of this moment."""
    user = cast(User, request.user)
    return Operator(
        id=user.id,
        label=user.email,
        roles=tuple(roles_of(user)),
        ip=request.META.get("REMOTE_ADDR", ""),
        request_id=getattr(request, "request_id", ""),
    )


def roles_of(user: User) -> list[str]:
    """Return the roles of an operator, by name."""
    return list(OperatorGrant.objects.filter(user_id=user.id).order_by("role").values_list("role", flat=True))
