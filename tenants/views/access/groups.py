"""Groups: people who hold grants together."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from tenants import queries as tenancy
from tenants.access.standing import TakesAway
from tenants.access.wording import allowed_words
from tenants.errors import ExchequerError, NotFound
from tenants.grants import groups as operations
from tenants.grants import queries
from tenants.grants.effects import losses
from tenants.grants.grants import beyond
from tenants.grants.queries import GrantRow, GroupRow
from tenants.views.access.forms import JoinGroup, NewGroup
from tenants.views.access.offers import includes, tabs
from tenants.web.form_posts import explain, redirect_get_to
from tenants.web.pagination import sliced
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_safe
@page("members.view")
def groups(request: TenantRequest) -> HttpResponse:
    """List the groups with their people and grants."""
    return _list(request)


@page("members.manage")
@redirect_get_to("groups")
def create_group(request: TenantRequest) -> HttpResponse:
    """Create an empty group and open it."""
    form = NewGroup(request.POST, auto_id="new_%s")
    if form.is_valid():
        try:
            row = operations.create_group(actor=request.actor, name=form.cleaned_data["name"])
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, f"Group {row.name} created. Add people to it and give it a role.")
            return redirect("group", request.tenant.slug, row.id)
    return _list(request, form=form, status=422)


@require_safe
@page("members.view")
def group(request: TenantRequest, group_id: UUID) -> HttpResponse:
    """Show the people and the grants of a group."""
    return _one(request, _found(group_id))


@require_POST
@page("members.manage")
def group_join(request: TenantRequest, group_id: UUID) -> HttpResponse:
    """Add a person, who has the group's grants with their next request."""
    found = _found(group_id)
    form = JoinGroup(request.POST, people=_addable(request, found))
    if form.is_valid():
        try:
            operations.add_member(actor=request.actor, group_id=group_id, user_id=UUID(form.cleaned_data["user_id"]))
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, f"Added to {found.name}, effective immediately.")
            return redirect("group", request.tenant.slug, group_id)
    return _one(request, found, form=form, status=422)


@require_POST
@page(TakesAway("members.manage"))
def group_leave(request: TenantRequest, group_id: UUID, user_id: UUID) -> HttpResponse:
    """Remove a person, who loses the group's grants with their next request."""
    found = _found(group_id)
    operations.remove_member(actor=request.actor, group_id=group_id, user_id=user_id)
    messages.success(request, f"Removed from {found.name}, effective immediately.")
    return redirect("group", request.tenant.slug, group_id)


@require_POST
@page(TakesAway("members.manage"))
def delete_group(request: TenantRequest, group_id: UUID) -> HttpResponse:
    """Delete a group; its people lose its grants with their next request."""
    found = _found(group_id)
    operations.delete_group(actor=request.actor, group_id=group_id)
    messages.success(request, f"Group {found.name} deleted.")
    return redirect("groups", request.tenant.slug)


def _found(group_id: UUID) -> GroupRow:
    found = next((one for one in queries.groups() if one.id == group_id), None)
    if found is None:
        raise NotFound
    return found


def _addable(request: TenantRequest, found: GroupRow) -> list[tuple[str, str]]:
    """Return the people who may be added: not those in the group, nor oneself."""
    inside = {one["user_id"] for one in found.members} | {request.actor.id}
    return [(str(one.user_id), one.email) for one in tenancy.members() if one.user_id not in inside]


def _grants_by_group() -> dict[UUID, list[GrantRow]]:
    by_group: dict[UUID, list[GrantRow]] = {}
    for row in queries.grants():
        if row.group_id is not None:
            by_group.setdefault(row.group_id, []).append(row)
    return by_group


def _shown(row: GrantRow) -> dict[str, Any]:
    return {"row": row, "words": allowed_words(row.permissions), "number": len(row.permissions)}


def _list(request: TenantRequest, *, form: NewGroup | None = None, status: int = 200) -> HttpResponse:
    held = _grants_by_group()
    shown, links = sliced(request, queries.groups())
    context: dict[str, Any] = {
        "groups": [{"group": one, "grants": held.get(one.id, [])} for one in shown],
        **links,
        "can_manage": request.actor.can("members.manage"),
        **tabs(request.actor),
        "form": form or NewGroup(auto_id="new_%s"),
    }
    return render(request, "tenants/access/groups.html", context, status=status)


def _one(request: TenantRequest, found: GroupRow, *, form: JoinGroup | None = None, status: int = 200) -> HttpResponse:
    actor = request.actor
    held = _grants_by_group().get(found.id, [])
    within = not any(beyond(actor, row.permissions, row.project_id) for row in held)
    held_by = queries.holders() if actor.can("members.manage") else ()
    lost = {one.id: one for one in losses(held_by, lambda row: row.grant.group_id == found.id)}
    is_closed = actor.can("members.manage") and operations.is_closed_to(actor, found.id)
    may_change = actor.can("members.manage") and within and not is_closed
    people = _addable(request, found) if may_change else []
    shown, links = sliced(request, found.members)
    context: dict[str, Any] = {
        "group": found,
        "people": [{**one, "loss": lost.get(one["user_id"])} for one in shown],
        **links,
        "grants": [_shown(row) for row in held],
        "can_manage": actor.can("members.manage"),
        "may_change": may_change,
        "within": within,
        "closed": operations.CLOSED if is_closed else "",
        "includes_self": includes(found, actor),
        "addable": bool(people),
        "form": form or JoinGroup(people=people),
    }
    return render(request, "tenants/access/group.html", context, status=status)
