"""Roles: the built-in ones, and those that the organisation puts together."""

from __future__ import annotations

from collections import Counter
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS
from tenants.access.wording import allowed_words, by_noun, permission_words
from tenants.errors import ExchequerError, NotFound
from tenants.grants import queries
from tenants.grants import roles as operations
from tenants.grants.queries import RoleRow
from tenants.identity import provenance
from tenants.views.access.forms import RoleForm
from tenants.views.access.offers import tabs
from tenants.web.form_posts import explain
from tenants.web.pagination import sliced
from tenants.web.requests import TenantRequest
from tenants.web.views import page

READS = ["GET", "HEAD", "POST"]


@require_safe
@page("members.view")
def roles(request: TenantRequest) -> HttpResponse:
    """List the roles with what they allow and how often each is granted."""
    return _list(request)


@require_http_methods(READS)
@page("members.manage")
def create_role(request: TenantRequest) -> HttpResponse:
    """Create a role of the organisation's own."""
    form = RoleForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            role = operations.create_role(actor=request.actor, **_fields(form))
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, f"Role {role.name} created. Give it to somebody on the page Access.")
            return redirect("roles", request.tenant.slug)
    return _form(request, form)


@require_http_methods(READS)
@page("members.manage")
def change_role(request: TenantRequest, role_id: UUID) -> HttpResponse:
    """Change a role: the first submission shows whom it affects, `confirmed` applies it."""
    role = _found(role_id)
    started = {"name": role.name, "description": role.description, "permissions": role.permissions}
    form = RoleForm(request.POST or None, initial=started)
    if request.method == "POST" and form.is_valid():
        fields = _fields(form)
        changes = _changes(role, fields)
        if changes and _holders(role_id) and not form.cleaned_data["confirmed"]:
            return _form(request, form, role=role, asked=changes)
        try:
            operations.change_role(actor=request.actor, role_id=role_id, **fields)
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, f"Role {fields['name']} saved, effective immediately for all who hold it.")
            return redirect("roles", request.tenant.slug)
    return _form(request, form, role=role)


@require_POST
@page("members.manage")
def delete_role(request: TenantRequest, role_id: UUID) -> HttpResponse:
    """Delete a role that nobody holds."""
    role = _found(role_id)
    try:
        operations.delete_role(actor=request.actor, role_id=role_id)
    except operations.RoleInUse as refused:
        return _list(request, refused=refused.message, status=refused.status)
    messages.success(request, f"Role {role.name} deleted.")
    return redirect("roles", request.tenant.slug)


def _found(role_id: UUID) -> RoleRow:
    role = next((one for one in queries.roles() if one.id == role_id), None)
    if role is None:
        raise NotFound
    return role


def _fields(form: RoleForm) -> dict[str, Any]:
    return {name: form.cleaned_data[name] for name in ("name", "description", "permissions")}


def _holders(role_id: UUID) -> list[str]:
    """Return who holds a role, by a group too."""
    holding = {one.holder for one in queries.holders() for row in one.reasons if row.grant.role_id == role_id}
    return sorted(holding)


def _changes(role: RoleRow, fields: dict[str, Any]) -> dict[str, Any]:
    """Return what changes for the holders of a role; nothing if its permissions stay."""
    before, after = frozenset(role.permissions) & PERMISSIONS, frozenset((*fields["permissions"], provenance.ALWAYS))
    if before == after:
        return {}
    gained, lost = after - before, before - after
    words = {"gained": allowed_words(gained) if gained else "", "lost": allowed_words(lost) if lost else ""}
    return fields | words | {"holders": _holders(role.id) if role.id else []}


def _groups(actor: Actor, chosen: list[str]) -> list[dict[str, Any]]:
    """Return the check boxes by noun; those that the actor lacks are off, and stay as they are."""
    return [
        {
            "title": noun.title,
            "boxes": [
                {
                    "value": one,
                    "words": permission_words(one),
                    "checked": one in chosen or one == provenance.ALWAYS,
                    "always": one == provenance.ALWAYS,
                    "lacking": not actor.can(one),
                }
                for one in noun.permissions
            ],
        }
        for noun in by_noun()
    ]


def _form(request: TenantRequest, form: RoleForm, *, role: RoleRow | None = None, **given: Any) -> HttpResponse:
    actor = request.actor
    lacking = sorted(PERMISSIONS.intersection(role.permissions) - actor.permissions) if role else []
    context = {
        "form": form,
        "role": role,
        "groups": _groups(actor, form["permissions"].value() or []),
        "holders": _holders(role.id) if role and role.id else [],
        "lacking": ", ".join(map(permission_words, lacking)),
        "lacks_some": any(not actor.can(one) for one in PERMISSIONS),
        **given,
    }
    return render(request, "tenants/access/role.html", context, status=422 if form.errors else 200)


def _list(request: TenantRequest, *, status: int = 200, **given: Any) -> HttpResponse:
    actor = request.actor
    known = queries.roles()
    granted = Counter(row.role for row in queries.grants())
    lines = [
        {
            "role": role,
            "words": allowed_words(role.permissions),
            "grants": granted[role.name],
            "may_change": not role.built_in and PERMISSIONS.intersection(role.permissions) <= actor.permissions,
        }
        for role in known
    ]
    own, links = sliced(request, [line for line, role in zip(lines, known, strict=True) if not role.built_in])
    context = {
        "built_in": [line for line, role in zip(lines, known, strict=True) if role.built_in],
        "own": own,
        **links,
        "can_manage": actor.can("members.manage"),
        **tabs(actor),
        **given,
    }
    return render(request, "tenants/access/roles.html", context, status=status)
