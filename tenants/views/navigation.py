"""Context of every page: theme, email delivery, permitted navigation, and the organisations to switch to."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.http import HttpRequest
from django.urls import NoReverseMatch, reverse
from django.utils.functional import SimpleLazyObject

from tenants import queries
from tenants.access.actor import Actor
from tenants.isolation.scoping import scope_open, tenant_scope
from tenants.notifications import notifications
from tenants.notifications.file_backend import written_to_files
from tenants.web.requests import is_admitted


@dataclass(frozen=True)
class NavigationEntry:
    """One line of the sidebar. `key` is the second key of the `g` shortcut."""

    label: str
    icon: str
    page: str
    permission: str
    key: str = ""
    args: tuple[str, ...] = ()


@dataclass(frozen=True)
class Link:
    """A navigation entry as a link for one tenant."""

    label: str
    icon: str
    url: str
    active: bool
    key: str


GROUPS: tuple[tuple[str, tuple[NavigationEntry, ...]], ...] = (
    (
        "",
        (
            NavigationEntry("Overview", "layout-dashboard", "overview", "tenant.view", "o"),
            NavigationEntry("Jobs", "list-check", "jobs", "jobs.view", "j"),
            NavigationEntry("Datasets", "database", "datasets", "datasets.view", "d"),
            NavigationEntry("Models", "box", "models", "models.view", "m"),
            NavigationEntry("Endpoints", "bolt", "endpoints", "endpoints.view", "e"),
            NavigationEntry("Model health", "activity", "dash-page", "endpoints.view", "h", ("health",)),
        ),
    ),
    (
        "Money",
        (
            NavigationEntry("Spend", "chart-bar", "dash-page", "spend.view", "u", ("spend",)),
            NavigationEntry("Budgets", "wallet", "budgets", "budgets.view", "b"),
            NavigationEntry("Prices", "coins", "prices", "pricebooks.view"),
            NavigationEntry("Invoice", "receipt", "invoice", "invoices.view", "i"),
            NavigationEntry("Reported usage", "upload", "reported", "invoices.view"),
        ),
    ),
    (
        "Organisation",
        (
            NavigationEntry("Members", "users", "members", "members.view"),
            NavigationEntry("Projects", "stack-2", "projects", "projects.view"),
            NavigationEntry("Quotas", "gauge", "quotas", "quotas.view", "q"),
            NavigationEntry("API keys", "key", "api-keys-page", "apikeys.view"),
            NavigationEntry("Audit", "shield-check", "audit", "audit.view", "a"),
            NavigationEntry("Settings", "settings", "settings", "tenant.view", "s"),
        ),
    ),
)


def navigation(actor: Actor, slug: str, path: str) -> list[dict[str, Any]]:
    """Return the sidebar's groups with the links that `actor` may open; the current one is active."""
    groups = []
    for title, entries in GROUPS:
        links = [_link(entry, slug, path) for entry in entries if actor.can(entry.permission)]
        if links:
            groups.append({"title": title, "entries": links})
    return groups


def _link(entry: NavigationEntry, slug: str, path: str) -> Link:
    try:
        url = reverse(entry.page, args=(slug, *entry.args))
    except NoReverseMatch:
        url = reverse("overview", args=(slug,))
    active = path == url or (entry.page != "overview" and path.startswith(url))
    return Link(entry.label, entry.icon, url, active, entry.key)


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context processor: queries nothing unless a template needs it."""
    user = getattr(request, "user", None)
    known = user is not None and user.is_authenticated
    context: dict[str, Any] = {
        "theme": getattr(user, "theme", "light") if known else "auto",
        "single_keys": getattr(user, "single_keys", True) if known else True,
        "mail_in_files": written_to_files(),
    }
    if is_admitted(request) and known:
        actor = request.actor
        context["navigation"] = navigation(actor, request.tenant.slug, request.path)
        if user.is_operator:  # type: ignore[union-attr]
            operator = Link("Operator", "server", reverse("operator-fleet"), active=False, key="")
            context["navigation"].append({"title": "Platform", "entries": [operator]})
        context["unread"] = _lazily(lambda: _unread(actor.tenant_id, user.pk))  # type: ignore[union-attr]
        context["memberships"] = _lazily(lambda: queries.tenants_of(user.id))  # type: ignore[union-attr]
    return context


def _unread(tenant_id: UUID, user_id: UUID) -> str:
    """Return the bell's count, or empty. An error page is rendered after its scope has closed."""
    with nullcontext() if scope_open() else tenant_scope(tenant_id):
        number = notifications.unread(user_id)
    return f"{number - 1}+" if number == notifications.MOST_COUNTED else str(number or "")


def _lazily(load: Callable[[], Any]) -> Any:
    return SimpleLazyObject(load)
