"""Members: roles, invitations, changes and removal."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from tenants import queries
from tenants.access.actor import Actor
from tenants.access.permissions import ROLE_WORDS, ROLES, may_assign
from tenants.access.standing import TakesAway
from tenants.access.wording import allowed_words
from tenants.errors import ExchequerError, Invalid
from tenants.identity import invitation_queries, invitations
from tenants.identity import members as people
from tenants.identity.holders import LastOwner
from tenants.notifications.emails import invitation_link
from tenants.notifications.file_backend import written_to_files
from tenants.parsing import uuid_in
from tenants.views.forms import InviteMember
from tenants.web.form_posts import explain, redirect_get_to
from tenants.web.pagination import csv_response, sliced, wants_csv
from tenants.web.requests import TenantRequest
from tenants.web.views import page

JUST_INVITED = "just_invited"


@require_safe
@page("members.view")
def members(request: TenantRequest) -> HttpResponse:
    """List members and open invitations; `?change=ID&role=ROLE` confirms a role change, `?export=csv` for a file."""
    if wants_csv(request):
        rows = ([row.email, row.name, row.role, row.since] for row in queries.members())
        return csv_response(request, "members", ("email", "name", "role", "since"), rows)
    return _render(request)


@page("members.manage")
@redirect_get_to("members")
def invite(request: TenantRequest) -> HttpResponse:
    """Invite a person by email; in a demo without a mail server, show the link once to the inviter."""
    actor = request.actor
    form = InviteMember(request.POST, roles=_assignable(actor))
    if form.is_valid():
        anew = invitation_queries.is_open(form.cleaned_data["email"])
        try:
            row = invitations.invite(actor=actor, **form.cleaned_data)
        except ExchequerError as refused:
            explain(form, refused)
        else:
            earlier = " The link of the earlier invitation no longer works." if anew else ""
            messages.success(request, f"{row.email} is invited as {row.role}. The link works for seven days.{earlier}")
            # With the link anybody makes an account for that address, which other organisations may trust.
            if _link_shown():
                request.session[JUST_INVITED] = str(row.id)
            return redirect("members", request.tenant.slug)
    return _render(request, form=form, status=422)


@require_POST
@page("members.manage")
def member_role(request: TenantRequest, user_id: UUID) -> HttpResponse:
    """Change a member's role, effective with their next request."""
    role = request.POST.get("role", "")
    try:
        people.change_role(actor=request.actor, user_id=user_id, role=role)
    except LastOwner as refused:
        return _render(request, refused=refused.message, status=409)
    messages.success(request, f"Role changed to {role}, effective immediately.")
    return redirect("members", request.tenant.slug)


@require_POST
@page(TakesAway("members.manage"))
def member_remove(request: TenantRequest, user_id: UUID) -> HttpResponse:
    """Remove a member with all credentials that descend from them; show what happens to endpoint keys and open jobs."""
    try:
        left = people.remove_member(
            actor=request.actor,
            user_id=user_id,
            jobs=people.parse_jobs(request.POST.get("jobs")),
            adopt=request.POST.get("endpoint_keys") == "adopt",
        )
    except (LastOwner, Invalid) as refused:
        return _render(request, refused=refused.message, status=refused.status)
    ended = len(left.credentials) - len(left.adopted)
    adopted = f" {len(left.adopted)} now descend from you." if left.adopted else ""
    messages.success(request, f"Member removed; {ended} of their credentials have been revoked.{adopted}")
    return redirect("members", request.tenant.slug)


@require_POST
@page(TakesAway("members.manage"))
def invitation_revoke(request: TenantRequest, invitation_id: UUID) -> HttpResponse:
    """Revoke an invitation."""
    invitations.revoke(actor=request.actor, invitation_id=invitation_id)
    messages.success(request, "Invitation revoked. Its link no longer works.")
    return redirect("members", request.tenant.slug)


def _link_shown() -> bool:
    return written_to_files() and bool(settings.EXCHEQUER.demo)


def _assignable(actor: Actor) -> list[str]:
    return [role for role in ROLES if may_assign(actor.permissions, role)]


def _asked(request: TenantRequest, known: list[queries.MemberRow], roles: list[str]) -> dict[str, Any] | None:
    """Return the requested role change, or None if the actor may not make it."""
    user_id, role = uuid_in(request.GET.get("change")), request.GET.get("role", "")
    member = next((one for one in known if one.user_id == user_id and one.user_id != request.user.pk), None)
    if (
        member is None
        or member.role == role
        or role not in roles
        or not people.may_change(request.actor, member.rights)
    ):
        return None
    return {
        "member": member,
        "role": role,
        "words": ROLE_WORDS[role],
        "was": member.role[:1].upper() + member.role[1:] if member.rights.roles else "None",
        "was_words": ROLE_WORDS.get(member.role) or allowed_words(member.rights.everywhere),
        "several": bool(member.rights.in_projects) or member.role not in ROLES,
    }


def _member(request: TenantRequest, name: str, known: list[queries.MemberRow]) -> Any:
    """Return the member named in the URL if the actor may manage that member, else None."""
    user_id = uuid_in(request.GET.get(name))
    managed = (one for one in known if one.user_id == user_id != request.user.pk)
    return next((one for one in managed if people.may_change(request.actor, one.rights)), None)


def _leaver(request: TenantRequest, known: list[queries.MemberRow]) -> dict[str, Any] | None:
    """Return the context of the removal dialog; None without a removal."""
    member = _member(request, "remove", known)
    if member is None:
        return None
    actor = request.actor
    left = people.departure(actor=actor, user_id=member.user_id)
    return {
        "member": member,
        "left": left,
        "adoptable": bool(left.endpoint_keys) and actor.can("tenant.manage"),
        "may_settle": actor.can("jobs.cancel_any"),
        "heirs": [one for one in known if "jobs.launch" in one.rights.everywhere and one.user_id != member.user_id],
    }


def _just_invited(request: TenantRequest) -> tuple[invitation_queries.InvitationEmail | None, str]:
    """Return the invitation that this session issued last, with its link, the first time only.

    The session holds the invitation's id alone: no usable secret is stored.
    """
    invitation_id = uuid_in(request.session.pop(JUST_INVITED, None))
    email = invitation_queries.email_of(request.tenant.id, invitation_id) if invitation_id else None
    return email, invitation_link(email) if email else ""


def _render(
    request: TenantRequest, *, form: InviteMember | None = None, refused: str = "", status: int = 200
) -> HttpResponse:
    actor = request.actor
    manage, remove = actor.can("members.manage"), actor.can(TakesAway("members.manage"))
    roles = _assignable(actor)
    known = queries.members()
    shown, links = sliced(request, known)
    context: dict[str, Any] = {
        "members": shown,
        **links,
        "role_words": ROLE_WORDS,
        "refused": refused,
        "can_manage": manage,
        "can_remove": remove,
        "roles": roles,
        "manageable": {one.user_id for one in shown if people.may_change(actor, one.rights)},
    }
    if manage:
        context["form"] = form or InviteMember(roles=roles)
        context["link_shown"] = _link_shown()
        context["asked"] = _asked(request, known, roles)
        context["email"], context["email_link"] = _just_invited(request)
    if remove:
        context["managed"] = _member(request, "member", known)
        context["leaver"] = _leaver(request, known)
        context["invited"] = invitation_queries.invitations(only_open=True, limit=200)
    return render(request, "tenants/members.html", context, status=status)
