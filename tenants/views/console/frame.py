"""Context of every page of the console: the theme, and the areas that the operator's roles open."""

from __future__ import annotations

from typing import Any, cast

from django.http import HttpRequest
from django.urls import reverse

from tenants.models import User
from tenants.notifications.file_backend import written_to_files
from tenants.operators.attention import count_of
from tenants.operators.operator import Operator
from tenants.web.navigation import Link

#: Label, icon, page, permission, second key of the `g` shortcut.
AREAS = (
    ("Home", "layout-dashboard", "entrance", "tenants.view", "h"),
    ("Organisations", "building", "operator-tenants", "tenants.view", "t"),
    ("Approvals", "circle-check", "operator-approvals", "quotas.view", "a"),
    ("Price books", "coins", "operator-books", "prices.view", "p"),
    ("Contracts", "receipt", "operator-contracts", "prices.view", "c"),
    ("Invoices", "file-text", "operator-invoices", "invoices.view", "n"),
    ("Fleet", "cpu", "operator-fleet", "fleet.view", "f"),
    ("Idle work", "activity", "operator-idle", "fleet.view", "d"),
    ("Looks inside", "eye", "operator-looks", "log.view", "i"),
    ("Operators", "users", "operators", "operators.view", "o"),
    ("Webhooks", "world", "operator-webhooks", "webhooks.manage", "w"),
    ("Operator log", "history", "operator-acts", "log.view", "l"),
    ("Mail", "mail", "operator-mail", "mail.view", "m"),
)


def frame(request: HttpRequest) -> dict[str, Any]:
    """Context processor; it queries nothing but the numbers beside areas."""
    user = getattr(request, "user", None)
    person = cast(User, user) if user is not None and user.is_authenticated else None
    context: dict[str, Any] = {
        "console": True,
        "theme": person.theme if person else "auto",
        "single_keys": person.single_keys if person else True,
        "mail_in_files": written_to_files(),
    }
    operator: Operator | None = getattr(request, "operator", None)
    if operator is not None:
        context["role"] = operator.role
        opened = [area for area in AREAS if operator.can(area[3])]
        here = max((url for area in opened if _is_in(request.path, url := reverse(area[2]))), key=len, default="")
        context["areas"] = [
            Link(label, icon, reverse(page), active=reverse(page) == here, key=key, number=count_of(page))
            for label, icon, page, _, key in opened
        ]
    return context


def _is_in(path: str, area: str) -> bool:
    return path == area if area == reverse("entrance") else path.startswith(area)
