"""Context of every page: theme, email delivery, permitted navigation, and the organisations to switch to."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import datetime
from typing import Any, cast
from uuid import UUID

from django.http import HttpRequest
from django.utils.functional import SimpleLazyObject

from tenants import queries
from tenants.exports import ORDERS
from tenants.identity import looks, sessions
from tenants.isolation.scoping import scope_open, tenant_scope
from tenants.models import User
from tenants.notifications import notifications
from tenants.notifications.file_backend import written_to_files
from tenants.web.navigation import navigation
from tenants.web.requests import is_admitted


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context processor: queries nothing unless a template needs it."""
    user = getattr(request, "user", None)
    person = cast(User, user) if user is not None and user.is_authenticated else None
    context: dict[str, Any] = {
        "theme": person.theme if person else "auto",
        "single_keys": person.single_keys if person else True,
        "mail_in_files": written_to_files(),
    }
    if is_admitted(request) and request.actor.kind == "operator":
        context["navigation"] = navigation(request.actor, request.tenant.slug, request.path)
        context["look_ends"] = datetime.fromisoformat(request.session[looks.LOOK_ENDS])
    elif is_admitted(request) and person:
        actor = request.actor
        context["may_export"] = actor.can(ORDERS)
        context["navigation"] = navigation(actor, request.tenant.slug, request.path)
        context["unread"] = _lazily(lambda: _unread(actor.tenant_id, person.pk))
        context["memberships"] = _lazily(lambda: queries.tenants_of(person.id, bound=sessions.bound_to(request)))
    return context


def _unread(tenant_id: UUID, user_id: UUID) -> str:
    """Return the bell's count, or empty. An error page is rendered after its scope has closed."""
    with nullcontext() if scope_open() else tenant_scope(tenant_id):
        number = notifications.unread(user_id)
    return f"{number - 1}+" if number == notifications.MOST_COUNTED else str(number or "")


def _lazily(load: Callable[[], Any]) -> Any:
    return SimpleLazyObject(load)
