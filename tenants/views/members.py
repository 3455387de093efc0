"""Members: who belongs to the organisation, as what; inviting, changing, removing."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from tenants import invitations, operations, queries
from tenants.actor import Actor
from tenants.edges import page
from tenants.errors import ExchequerError
from tenants.forms import InviteMember
from tenants.listing import csv_response
from tenants.permissions import ROLE_WORDS, ROLES, may_assign
from tenants.views.posted import posted
from tenants.views.refusals import explain


@require_safe
@page("members.view")
def members(request: HttpRequest) -> HttpResponse:
    """List members and open invitations; `?export=csv` for the members as a file."""
    if request.GET.get("export") == "csv":
        rows = ([row.email, row.name, row.role, row.since] for row in queries.members())
        return csv_response("members", ("email", "name", "role", "since"), rows)
    return _render(request)


@page("members.manage")
@posted("members")
def invite(request: HttpRequest) -> HttpResponse:
    """Invite a person by mail."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form = InviteMember(request.POST, roles=_assignable(actor))
    if form.is_valid():
        try:
            row = invitations.invite(actor=actor, **form.cleaned_data)
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, f"{row.email} is invited as {row.role}. The link works for seven days.")
            return redirect("members", request.tenant.slug)  # type: ignore[attr-defined]
    return _render(request, form=form, status=422)


@require_POST
@page("members.manage")
def member_role(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Change a member's role; it counts from the member's next request."""
    role = request.POST.get("role", "")
    try:
        operations.change_role(actor=request.actor, user_id=user_id, role=role)  # type: ignore[attr-defined]
    except operations.LastOwner as refused:
        return _render(request, refused=refused.message, status=409)
    messages.success(request, f"The role is {role} from the next click on.")
    return redirect("members", request.tenant.slug)  # type: ignore[attr-defined]


@require_POST
@page("members.manage")
def member_remove(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Remove a member, with the API keys that the person made."""
    try:
        operations.remove_member(actor=request.actor, user_id=user_id)  # type: ignore[attr-defined]
    except operations.LastOwner as refused:
        return _render(request, refused=refused.message, status=409)
    messages.success(request, "Removed. The person and the API keys made by the person are out from now on.")
    return redirect("members", request.tenant.slug)  # type: ignore[attr-defined]


@require_POST
@page("members.manage")
def invitation_revoke(request: HttpRequest, invitation_id: UUID) -> HttpResponse:
    """Withdraw an invitation."""
    invitations.revoke(actor=request.actor, invitation_id=invitation_id)  # type: ignore[attr-defined]
    messages.success(request, "The invitation is withdrawn. Its link leads nowhere from now on.")
    return redirect("members", request.tenant.slug)  # type: ignore[attr-defined]


def _assignable(actor: Actor) -> list[str]:
    return [role for role in ROLES if may_assign(actor.permissions, role)]


def _render(
    request: HttpRequest, *, form: InviteMember | None = None, refused: str = "", status: int = 200
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    manage = actor.can("members.manage")
    roles = _assignable(actor)
    context: dict[str, Any] = {
        "members": queries.members(),
        "role_words": ROLE_WORDS,
        "refused": refused,
        "can_manage": manage,
        "roles": roles,
    }
    if manage:
        context["form"] = form or InviteMember(roles=roles)
        context["invited"] = invitations.invitations(only_open=True, limit=200)
    return render(request, "tenants/members.html", context, status=status)
