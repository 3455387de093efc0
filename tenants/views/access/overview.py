"""Who may do what and why: each holder's grants, and giving and withdrawing one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db.models import Q
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from tenants import queries as tenancy
from tenants.access.permissions import PROJECT_PERMISSIONS
from tenants.access.standing import TakesAway
from tenants.errors import Conflict, ExchequerError
from tenants.grants import grants, queries
from tenants.grants.effects import losses
from tenants.grants.queries import AccessRow, GrantRow, HolderAccess
from tenants.identity.provenance import ALWAYS
from tenants.parsing import uuid_in
from tenants.views.access.forms import AccessFilter, GiveGrant
from tenants.views.access.offers import may_withdraw, offered, own_groups, tabs
from tenants.web.form_posts import explain, redirect_get_to
from tenants.web.pagination import csv_response, wants_csv
from tenants.web.requests import TenantRequest
from tenants.web.views import page

#: Lines on the page: of more, the filter finds those that are wanted, and the CSV has all.
MOST_LINES = 200
EXPORTED = ("kind", "holder", "name", "role", "where", "group", "granted_by", "granted_at", "until", "permissions")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One grant of a holder on the page; one without a grant has no row."""

    holder: HolderAccess
    row: AccessRow | None = None
    may_withdraw: bool = False

    @property
    def words(self) -> str:
        """Return what the grant allows, in words."""
        return self.row.words if self.row else ""


class Overview:
    """The grants that a request's filter chooses; each list is read once."""

    def __init__(self, request: TenantRequest) -> None:
        self.actor = request.actor
        self.filter = AccessFilter(request.GET, roles=queries.roles(), projects=tenancy.projects())

    @cached_property
    def holders(self) -> list[HolderAccess]:
        """Return everybody with all grants."""
        return list(queries.holders())

    def lines(self) -> Iterator[Line]:
        """Yield a line for each grant that fits the filter, and one for each holder without grants if it fits."""
        actor, chosen = self.actor, self.filter
        own = own_groups(actor) if actor.can(TakesAway("members.manage")) else frozenset()
        only_holders = set(chosen.chosen()) <= {"holder"}
        for holder in self.holders:
            named = chosen.names_holder(holder.holder, holder.name)
            for row in holder.reasons:
                if chosen.fits(row) and (named or chosen.names_holder(row.group)):
                    given = may_withdraw(actor, row.grant, own)
                    yield Line(holder=holder, row=row, may_withdraw=given)
            if not holder.reasons and only_holders and named:
                yield Line(holder=holder)

    def asked(self, grant_id: UUID | None) -> dict[str, Any] | None:
        """Return the requested withdrawal with what each holder would lose, or None if the actor may not make it."""
        own = own_groups(self.actor) if grant_id else frozenset()
        grant = next(iter(queries.grants(Q(id=grant_id))), None) if grant_id else None
        if grant is None or not may_withdraw(self.actor, grant, own):
            return None
        people = [holder for holder in self.holders if holder.kind != "group"]
        lost = losses(people, lambda row: row.grant.id == grant_id)
        return {"grant": grant, "losses": lost, "place": _place(grant)}


@require_safe
@page("members.view")
def access(request: TenantRequest) -> HttpResponse:
    """List each holder's grants; `?withdraw=ID` confirms a withdrawal, `?export=csv` returns the access review."""
    seen = Overview(request)
    if wants_csv(request, form=seen.filter):
        return csv_response(request, "access", EXPORTED, map(_exported, seen.lines()))
    return _render(request, seen=seen)


@page("members.manage")
@redirect_get_to("access")
def give(request: TenantRequest) -> HttpResponse:
    """Give a role, effective with the holder's next request."""
    form = GiveGrant(request.POST, **offered(request.actor))
    if form.is_valid():
        try:
            grant = grants.give(actor=request.actor, **form.wanted())
        except ExchequerError as refused:
            explain(form, refused)
        else:
            (row,) = queries.grants(Q(id=grant.id))
            given = f"{row.holder} has the role {row.role} in {_place(row)}, effective immediately."
            if row.project_id is not None and not (grants.permissions_in(grant) & PROJECT_PERMISSIONS) - {ALWAYS}:
                messages.warning(
                    request, f"{given} It allows nothing there: its permissions are not limited to projects."
                )
            else:
                messages.success(request, given)
            return redirect("access", request.tenant.slug)
    return _render(request, form=form, status=422)


@require_POST
@page(TakesAway("members.manage"))
def withdraw(request: TenantRequest, grant_id: UUID) -> HttpResponse:
    """Withdraw a grant, effective with the holder's next request."""
    found = queries.grants(Q(id=grant_id))
    try:
        grants.withdraw(actor=request.actor, grant_id=grant_id)
    except Conflict as refused:
        return _render(request, refused=refused.message, status=refused.status)
    for row in found:
        messages.success(request, f"{row.holder} no longer has the role {row.role} in {_place(row)}.")
    return redirect("access", request.tenant.slug)


def _place(row: GrantRow) -> str:
    return row.project or "the whole organisation"


def _exported(line: Line) -> list[Any]:
    holder, row = line.holder, line.row
    if row is None:
        return [holder.kind, holder.holder, holder.name, *[""] * 7]
    return [
        holder.kind,
        holder.holder,
        holder.name,
        row.role,
        row.project or "whole organisation",
        row.group,
        row.granted_by,
        row.grant.created_at,
        row.expires_at,
        " ".join(row.permissions),
    ]


def _render(
    request: TenantRequest,
    *,
    seen: Overview | None = None,
    form: GiveGrant | None = None,
    status: int = 200,
    refused: str = "",
) -> HttpResponse:
    actor = request.actor
    seen = seen or Overview(request)
    lines = list(seen.lines())
    context: dict[str, Any] = {
        "lines": lines[:MOST_LINES],
        "hidden": max(len(lines) - MOST_LINES, 0),
        "holders": len({line.holder.id for line in lines}),
        "filter": seen.filter,
        "filtered": bool(seen.filter.chosen()),
        "can_manage": actor.can("members.manage"),
        "can_withdraw": actor.can(TakesAway("members.manage")),
        **tabs(actor),
        "refused": refused,
    }
    if context["can_withdraw"]:
        context["asked"] = seen.asked(uuid_in(request.GET.get("withdraw")))
    if context["can_manage"]:
        initial = {"holder": request.GET.get("give_to", "")}
        context["form"] = form or GiveGrant(**offered(actor), initial=initial)
    return render(request, "tenants/access/access.html", context, status=status)
