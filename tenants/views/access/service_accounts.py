"""Service accounts: programs with rights of their own."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from tenants import clock
from tenants import queries as tenancy
from tenants.access.standing import TakesAway
from tenants.errors import ExchequerError
from tenants.grants import key_reasons, queries
from tenants.grants import service_accounts as operations
from tenants.grants.grants import beyond
from tenants.grants.queries import GrantRow
from tenants.views.access.forms import NewServiceAccount
from tenants.views.access.offers import tabs
from tenants.web.form_posts import explain, redirect_get_to
from tenants.web.pagination import sliced
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_safe
@page("apikeys.view")
def service_accounts(request: TenantRequest) -> HttpResponse:
    """List the service accounts with their grants and keys."""
    return _render(request)


@page("apikeys.manage")
@redirect_get_to("service-accounts")
def create_account(request: TenantRequest) -> HttpResponse:
    """Create a service account without grants or keys."""
    form = NewServiceAccount(request.POST, auto_id="new_%s")
    if form.is_valid():
        try:
            row = operations.create_service_account(actor=request.actor, **form.cleaned_data)
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, f"Service account {row.name} created. Give it a role, then create a key for it.")
            return redirect("service-accounts", request.tenant.slug)
    return _render(request, form=form, status=422)


@require_POST
@page(TakesAway("apikeys.manage"))
def disable_account(request: TenantRequest, account_id: UUID) -> HttpResponse:
    """Disable a service account permanently; its keys are refused from their next request."""
    revoked = operations.disable_service_account(actor=request.actor, service_account_id=account_id)
    ended = sum(map(len, revoked.values()))
    messages.success(request, f"Service account disabled. {ended} credential{'' if ended == 1 else 's'} revoked.")
    return redirect("service-accounts", request.tenant.slug)


def _live_keys() -> dict[UUID, list[str]]:
    """Return the names of the keys that work, by service account."""
    names: dict[UUID, list[str]] = {}
    moment = clock.now()
    for key in tenancy.api_keys():
        if key.service_account_id and not key.revoked_at and (key.expires_at is None or key.expires_at > moment):
            names.setdefault(key.service_account_id, []).append(key.name)
    return names


def _render(request: TenantRequest, *, form: NewServiceAccount | None = None, status: int = 200) -> HttpResponse:
    actor = request.actor
    manage = actor.can("apikeys.manage")
    keys = _live_keys()
    held: dict[UUID, list[GrantRow]] = {}
    for row in queries.grants():
        if row.service_account_id is not None:
            held.setdefault(row.service_account_id, []).append(row)
    lines = []
    shown, links = sliced(request, queries.service_accounts())
    for account in key_reasons.explained_accounts(actor, shown):
        own = held.get(account.id, [])
        within = not any(beyond(actor, row.permissions, row.project_id) for row in own)
        may = manage and account.disabled_at is None
        lines.append(
            {
                "account": account,
                "grants": own,
                "keys": keys.get(account.id, []),
                "may_disable": may and within,
                "may_create_key": may and any(row.project_id is None for row in own),
            }
        )
    context: dict[str, Any] = {
        "accounts": lines,
        **links,
        "can_manage": manage,
        **tabs(actor),
        "can_grant": actor.can("members.manage"),
        "form": form or NewServiceAccount(auto_id="new_%s"),
    }
    return render(request, "tenants/access/service_accounts.html", context, status=status)
