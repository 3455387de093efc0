"""Members: who belongs to the organisation, as what; inviting, changing, removing."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from tenants import invitation_queries, invitations, queries
from tenants import members as people
from tenants.actor import Actor
from tenants.edges import page
from tenants.errors import ExchequerError
from tenants.forms import InviteMember
from tenants.listing import csv_response, wants_csv
from tenants.mail import invitation_link
from tenants.mailbox import written_to_files
from tenants.parsing import uuid_in
from tenants.permissions import ROLE_WORDS, ROLES, may_assign
from tenants.views.posted import posted
from tenants.views.refusals import explain

JUST_INVITED = "just_invited"


@require_safe
@page("members.view")
def members(request: HttpRequest) -> HttpResponse:
    """List members and open invitations; `?change=ID&role=ROLE` asks before a role changes, `?export=csv` for a file."""
    if wants_csv(request):
        rows = ([row.email, row.name, row.role, row.since] for row in queries.members())
        return csv_response("members", ("email", "name", "role", "since"), rows)
    return _render(request)


@page("members.manage")
@posted("members")
def invite(request: HttpRequest) -> HttpResponse:
    """Invite a person by mail; where no mail server is named, the link is shown once to the one who invited."""
    actor: Actor = request.actor  # type: ignore[attr-defined]
    form = InviteMember(request.POST, roles=_assignable(actor))
    if form.is_valid():
        anew = invitation_queries.is_open(form.cleaned_data["email"])
        try:
            row = invitations.invite(actor=actor, **form.cleaned_data)
        except ExchequerError as refused:
            explain(form, refused)
        else:
            earlier = " The link of the earlier invitation leads nowhere from now on." if anew else ""
            messages.success(request, f"{row.email} is invited as {row.role}. The link works for seven days.{earlier}")
            if written_to_files():
                request.session[JUST_INVITED] = str(row.id)
            return redirect("members", request.tenant.slug)  # type: ignore[attr-defined]
    return _render(request, form=form, status=422)


@require_POST
@page("members.manage")
def member_role(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Change a member's role; it counts from the member's next request."""
    role = request.POST.get("role", "")
    try:
        people.change_role(actor=request.actor, user_id=user_id, role=role)  # type: ignore[attr-defined]
    except people.LastOwner as refused:
        return _render(request, refused=refused.message, status=409)
    messages.success(request, f"The role is {role} from the next click on.")
    return redirect("members", request.tenant.slug)  # type: ignore[attr-defined]


@require_POST
@page("members.manage")
def member_remove(request: HttpRequest, user_id: UUID) -> HttpResponse:
    """Remove a member, with the API keys that the person made."""
    try:
        people.remove_member(actor=request.actor, user_id=user_id)  # type: ignore[attr-defined]
    except people.LastOwner as refused:
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


def _asked(request: HttpRequest, known: list[queries.MemberRow], roles: list[str]) -> dict[str, Any] | None:
    """Return whose role is to change into what, where the person who asks may do that; None else."""
    user_id, role = uuid_in(request.GET.get("change")), request.GET.get("role", "")
    member = next((one for one in known if one.user_id == user_id and one.user_id != request.user.pk), None)
    if member is None or member.role == role or not {member.role, role} <= set(roles):
        return None
    return {"member": member, "role": role, "was_words": ROLE_WORDS[member.role], "words": ROLE_WORDS[role]}


def _just_invited(request: HttpRequest) -> tuple[invitation_queries.Letter | None, str]:
    """Return the invitation that this session issued last, with its link, the first time this is asked.

    The session holds the invitation's id alone: nothing that opens a door is stored.
    """
    invitation_id = uuid_in(request.session.pop(JUST_INVITED, None))
    letter = invitation_queries.letter(request.tenant.id, invitation_id) if invitation_id else None  # type: ignore[attr-defined]
    return letter, invitation_link(letter) if letter else ""


def _render(
    request: HttpRequest, *, form: InviteMember | None = None, refused: str = "", status: int = 200
) -> HttpResponse:
    actor: Actor = request.actor  # type: ignore[attr-defined]
    manage = actor.can("members.manage")
    roles = _assignable(actor)
    known = queries.members()
    context: dict[str, Any] = {
        "members": known,
        "role_words": ROLE_WORDS,
        "refused": refused,
        "can_manage": manage,
        "roles": roles,
    }
    if manage:
        context["form"] = form or InviteMember(roles=roles)
        context["asked"] = _asked(request, known, roles)
        context["letter"], context["letter_link"] = _just_invited(request)
        context["invited"] = invitation_queries.invitations(only_open=True, limit=200)
    return render(request, "tenants/members.html", context, status=status)
