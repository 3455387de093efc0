"""Access to the operator's pages, and the operator log.

An operator's action belongs to no tenant, so it has no place in a tenant's chain: it goes to `OperatorAct`, which the
database only appends to, and to the log.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec, cast
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import redirect

from tenants.audit.chain import plain
from tenants.errors import Invalid
from tenants.models import OperatorAct
from tenants.web.error_pages import log_in_url, page_behind

LONGEST_REASON = 400
P = ParamSpec("P")
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Operator:
    """An operator, for one request."""

    id: UUID
    label: str
    ip: str = ""
    request_id: str = ""


class OperatorRequest(HttpRequest):
    """A request of an operator's page. Nothing is an instance of it: `operator_page` makes a plain request one."""

    operator: Operator


def operator_page(
    view: Callable[Concatenate[OperatorRequest, P], HttpResponseBase],
) -> Callable[Concatenate[HttpRequest, P], HttpResponseBase]:
    """Make a function a page of the operator's area: `view(request: OperatorRequest, ...)`.

    For everybody else the area responds 404. The view runs in one transaction that may read the platform's tables.
    """

    @functools.wraps(view)
    def run(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect(log_in_url(page_behind(request)))
        user = request.user
        if not user.is_operator:
            raise Http404
        operator = Operator(
            id=user.id,
            label=user.email,
            ip=request.META.get("REMOTE_ADDR", ""),
            request_id=getattr(request, "request_id", ""),
        )
        entered = cast(OperatorRequest, request)
        entered.operator = operator
        with operator_scope(operator):
            return view(entered, *args, **kwargs)

    run.operator = True  # type: ignore[attr-defined]
    return run


@contextmanager
def operator_scope(operator: Operator) -> Iterator[None]:
    """Open a transaction that can read tenant metrics and the operator log, and append to it."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT set_config('app.operator', '1', true)")
        yield
        # Inside an outer transaction the setting would outlive this one; a rollback reverts it anyway.
        if not connection.needs_rollback:
            with connection.cursor() as cursor:
                cursor.execute("SELECT set_config('app.operator', '', true)")


def record_act(operator: Operator, action: str, *, target: tuple[str, Any, str], reason: str) -> None:
    """Record an operator's action in the transaction of its effect, and log it. `target` is (type, id, label)."""
    kind, target_id, label = target
    OperatorAct.objects.create(
        operator=operator.id,
        operator_label=operator.label,
        action=action,
        target_type=kind,
        target_id=str(target_id),
        target_label=plain(label)[:254],
        reason=plain(reason),
        ip=operator.ip[:45],
        request_id=operator.request_id,
    )
    log.info("operator.acted", action=action, operator=operator.label, target=str(target_id), reason=reason)


def check_reason(text: str) -> str:
    """Return a reason of 3 to 400 characters; raise `Invalid` otherwise."""
    reason = " ".join(text.split())
    if not 3 <= len(reason) <= LONGEST_REASON or not reason.isprintable():
        raise Invalid(fields={"reason": [f"Say why, in 3 to {LONGEST_REASON} characters."]})
    return reason
