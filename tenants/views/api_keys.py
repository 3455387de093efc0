"""API keys: what programs may do, created from a preset, shown once, revoked at once."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from tenants import clock, queries
from tenants.access.actor import Actor
from tenants.access.permissions import ALONE, PERMISSIONS
from tenants.access.standing import TakesAway
from tenants.errors import ExchequerError
from tenants.grants import key_reasons
from tenants.grants.queries import service_accounts
from tenants.identity import api_keys as keys
from tenants.identity import provenance
from tenants.views.forms import NewApiKey
from tenants.web.form_posts import explain, redirect_get_to
from tenants.web.idempotency import run_once
from tenants.web.pagination import sliced
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_safe
@page("apikeys.view")
def api_keys(request: TenantRequest) -> HttpResponse:
    """List keys without their secrets."""
    return _render(request)


@page("apikeys.manage")
@redirect_get_to("api-keys-page")
def create_key(request: TenantRequest) -> HttpResponse:
    """Create a key and show its secret once; resubmitting the form creates no second key."""
    actor = request.actor
    form = NewApiKey(request.POST, own=actor.permissions, accounts=_accounts(), projects=_projects(actor))
    if not form.is_valid():
        return _render(request, form=form, status=422)
    made: list[keys.NewKey] = []
    days = form.cleaned_data["days"]

    def act() -> str:
        expires_at = clock.now() + timedelta(days=days) if days else None
        wanted = form.cleaned_data["wanted"]
        made.append(
            keys.create_api_key(
                actor=actor,
                name=form.cleaned_data["name"],
                scopes=wanted,
                expires_at=expires_at,
                service_account_id=form.cleaned_data.get("service_account"),
                project_id=form.cleaned_data["project"],
            )
        )
        return reverse("api-keys-page", args=(request.tenant.slug,))

    try:
        place = run_once(request, form.cleaned_data["form_key"], act)
    except ExchequerError as refused:
        explain(form, refused)
        return _render(request, form=form, status=422)
    if not made:
        messages.warning(request, "This key already exists. Its secret was shown once and cannot be shown again.")
        return redirect(place)
    return _render(request, secret=made[0].secret, made=made[0].id)


@require_POST
@page(TakesAway("apikeys.manage"))
def revoke_key(request: TenantRequest, key_id: UUID) -> HttpResponse:
    """Revoke a key; programs that use it are refused from their next request."""
    keys.revoke_api_key(actor=request.actor, key_id=key_id)
    messages.success(request, "Key revoked. Programs that use it are refused.")
    return redirect("api-keys-page", request.tenant.slug)


@require_POST
@page("apikeys.manage")
def rotate_key(request: TenantRequest, key_id: UUID) -> HttpResponse:
    """Replace a key and show the new secret once; the old one works for a day."""
    made = keys.rotate_api_key(actor=request.actor, key_id=key_id)
    messages.success(request, "Replaced. The old key works for 24 hours more.")
    return _render(request, secret=made.secret, made=made.id)


def _projects(actor: Actor) -> list[tuple[str, str]]:
    """Return the projects that a key can be limited to."""
    return [(str(one.id), one.name) for one in queries.projects_for(actor, "projects.view")]


def _accounts() -> list[tuple[str, str]]:
    """Return the service accounts that a key can be created for."""
    return [(str(one.id), f"Service account {one.name}") for one in service_accounts() if one.disabled_at is None]


def _keys(
    actor: Actor, everything: Sequence[queries.ApiKeyRow], shown: Sequence[queries.ApiKeyRow]
) -> list[dict[str, Any]]:
    """Return the keys of a page, each with its creating key, why it may do what it may, and what a revocation ends if the actor may."""
    rows, below = key_reasons.explained(actor, shown), provenance.numbers()
    names = {row.id: row.name for row in everything}
    projects = {project.id: project.name for project in queries.projects()}
    accounts = {account.id: account.name for account in service_accounts()}
    return [
        {name: getattr(row, name) for name in row.__dataclass_fields__}
        | {
            "made_with": names.get(row.parent_key_id, "") if row.parent_key_id else "",
            "account": accounts.get(row.service_account_id, "") if row.service_account_id else "",
            "project": projects.get(row.project_id, "") if row.project_id else "",
            "below": below.get(row.id, 0),
            "may_revoke": row.revoked_at is None and PERMISSIONS & set(row.scopes) <= actor.permissions,
        }
        for row in rows
    ]


def _render(request: TenantRequest, *, form: NewApiKey | None = None, status: int = 200, **given: Any) -> HttpResponse:
    actor = request.actor
    may_end = actor.can(TakesAway("apikeys.manage"))
    rows = queries.api_keys()
    shown, links = sliced(request, rows)
    context: dict[str, Any] = {
        "keys": _keys(actor, rows, shown),
        "now": clock.now(),
        "may_end": may_end,
        **links,
        **given,
    }
    if actor.can("apikeys.manage"):
        initial = {"service_account": request.GET.get("service_account", "")}
        context["form"] = form or NewApiKey(
            own=actor.permissions, accounts=_accounts(), projects=_projects(actor), initial=initial
        )
        context["alone"] = {scope: words for scope, words in ALONE.items() if actor.can(scope)}
    return render(request, "tenants/api_keys.html", context, status=status)
