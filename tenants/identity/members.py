"""Members: who belongs to an organisation in which role, and what ends with a membership.

The membership's row is the lock of a person's rights: operations that change them, or make a credential with them, hold it.
"""

from __future__ import annotations

from typing import Literal
from uuid import UUID

from django.db.models import Q

from tenants.access.actor import Actor
from tenants.access.permissions import ROLE_PERMISSIONS, ROLES, may_assign
from tenants.access.rights import Rights
from tenants.access.standing import TakesAway
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenants.events import events
from tenants.identity import departures, provenance
from tenants.identity.departures import Departure
from tenants.identity.holders import begin, check_lasting, keep_an_owner, lower, refuse_self
from tenants.models import FormerMember, Grant, Membership
from tenants.operations import check_email, find_or_create_user
from tenants.parsing import uuid_in
from tenants.rights import held

MEMBER_ADDED = AuditAction("tenants.member.added")
MEMBER_CHANGED = AuditAction("tenants.member.role_changed")
CREDENTIALS_ADOPTED = AuditAction("tenants.member.credentials_adopted")
MEMBER_REMOVED = AuditAction("tenants.member.removed", while_closing=True)

#: How the credential of a SCIM token begins, as the log names it.
BY_SCIM = "scim:"
#: Handling of a departing member's open jobs: they continue, are cancelled, or go to the member with this id.
Jobs = Literal["keep", "cancel"] | UUID


def parse_jobs(text: str | None) -> Jobs:
    """Parse a request's choice for the open jobs; raise `Invalid` for anything else."""
    if text in (None, "", "keep"):
        return "keep"
    to = uuid_in(text)
    if text != "cancel" and to is None:
        raise Invalid(fields={"jobs": ["Use keep, cancel, or the id of another member."]})
    return to or "cancel"


@operation(MEMBER_ADDED)
def add_member(*, actor: Actor, email: str, role: str, password: str | None = None, name: str = "") -> Membership:
    """Make a person a member with a role not above the actor's own; raises `Conflict` for a member.

    Creates a missing account without an invitation: for commands of an operator, never for a request.
    """
    actor.require("members.manage")
    check_role(actor, role)
    check_lasting(actor, ROLE_PERMISSIONS[role])
    email = check_email(email)
    if Membership.objects.filter(user__email=email).exists():
        raise Conflict(f"{email} is already a member.")
    user = find_or_create_user(email=email, password=password, name=name)
    membership = Membership.objects.create(user=user)
    came_back(user.id)
    held.give(membership, role, by=actor.said)
    record(MEMBER_ADDED, actor=actor, target=("member", user.id, user.email), changes={"role": [None, role]})
    events.publish(events.MemberAdded(tenant_id=actor.tenant_id, user_id=user.id))
    return membership


@operation(MEMBER_CHANGED)
def change_role(*, actor: Actor, user_id: UUID, role: str) -> None:
    """Give a member one built-in role in the whole tenant, in place of those of before; grants in projects stay.

    Never above the actor's own rights, never one's own role, never the last owner's. Credentials of the member that the
    new rights could not have created are revoked, or narrowed to them.
    """
    actor.require("members.manage")
    membership = _locked_member(actor, user_id)
    check_role(actor, role)
    before = held.rights_of(membership_id=membership.id)
    check_rights(actor, before)
    direct = Grant.objects.filter(membership=membership, project=None)
    if [(one.built_in, one.expires_at) for one in direct] == [(role, None)]:
        unchanged("the member has this role already")
        return
    check_lasting(actor, ROLE_PERMISSIONS[role])
    direct.delete()
    held.give(membership, role, by=actor.said)
    if "owner" in before.roles:
        keep_an_owner()
    record(
        MEMBER_CHANGED,
        actor=actor,
        target=("member", user_id, membership.user.email),
        changes={"role": [before.role, role]},
    )
    now = held.rights_of(membership_id=membership.id)
    lower(actor, membership.id, before, now, reason=f"{membership.user.email} became {role}")


def departure(*, actor: Actor, user_id: UUID) -> Departure:
    """Return what a member would leave behind. Raises NotFound."""
    actor.require(TakesAway("members.manage"))
    membership = Membership.objects.filter(user_id=user_id).first()
    if membership is None:
        raise NotFound
    under = departures.submitters(user_id, membership.id)
    return Departure(
        credentials=provenance.descendants(provenance.of_member(membership.id)),
        known=provenance.known_to(user_id),
        jobs=departures.count(under),
        work=departures.named(under),
    )


@operation(CREDENTIALS_ADOPTED)
def adopt_endpoint_keys(*, actor: Actor, user_id: UUID) -> list[str]:
    """Make an owner the creator of a member's endpoint keys, so that they outlive the membership; return their ids.

    Raises NotFound, PermissionDenied.
    """
    actor.require("members.manage")
    membership = _locked_member(actor, user_id)
    adopted = _adopt(actor, membership)
    target = ("member", user_id, membership.user.email)
    record(CREDENTIALS_ADOPTED, actor=actor, target=target, changes={"endpoint_keys": [adopted, []]})
    return adopted


@operation(MEMBER_REMOVED)
def remove_member(*, actor: Actor, user_id: UUID, jobs: Jobs = "keep", adopt: bool = False) -> Departure:
    """End a membership and revoke all credentials that descend from it, effective with the next request.

    With `adopt` an owner first becomes the creator of the member's endpoint keys, so that they keep working. Returns
    what the member left behind. Raises NotFound, LastOwner, PermissionDenied, Invalid.
    """
    actor.require(TakesAway("members.manage"))
    membership = _locked_member(actor, user_id)
    rights = held.rights_of(membership_id=membership.id)
    check_rights(actor, rights)
    left = departure(actor=actor, user_id=user_id)
    reason = f"{membership.user.email} was removed"
    if jobs != "keep" and left.open_jobs:
        to = None if jobs == "cancel" else heir(actor, jobs, but=user_id)
        departures.settle(actor=actor, ids=departures.submitters(user_id, membership.id), to=to, reason=reason)
    adopted = _adopt(actor, membership) if adopt else []
    taken = provenance.revoke_descendants(actor=actor, root=provenance.of_member(membership.id), reason=reason)
    Membership.objects.filter(id=membership.id).delete()
    by_provider = actor.credential.startswith(BY_SCIM)
    came_back(user_id)
    FormerMember.objects.create(user_id=user_id, by_provider=by_provider)
    if "owner" in rights.roles:
        keep_an_owner()
    events.publish(events.MemberRemoved(tenant_id=actor.tenant_id, user_id=user_id))
    names = {str(one.id): one.name for one in left.credentials}
    record(
        MEMBER_REMOVED,
        actor=actor,
        target=("member", user_id, membership.user.email),
        changes={
            "role": [rights.role, None],
            "api_keys": [taken["apikey"], []],
            "invitations": [[names.get(one, one) for one in taken["invitation"]], []],
            "endpoint_keys": [taken.get("endpointkey", []), []],
            "scim_tokens": [taken.get("scimtoken", []), []],
            "adopted": [adopted, []],
            "jobs": [left.jobs, str(jobs)],
        },
    )
    return Departure(credentials=left.credentials, known=left.known, adopted=adopted, jobs=left.jobs)


def came_back(user_id: UUID) -> None:
    """Forget that a person was removed, since a person has let them in again."""
    FormerMember.objects.filter(user_id=user_id).delete()


def check_role(actor: Actor, role: str) -> None:
    """Raise unless `role` exists and has no permission that the actor lacks."""
    if role not in ROLES:
        raise Invalid(fields={"role": [f"Choose one of {', '.join(ROLES)}."]})
    if not may_assign(actor.permissions, role):
        raise PermissionDenied("You cannot assign or change a role with more permissions than yours.")


def may_change(actor: Actor, rights: Rights) -> bool:
    """Return whether the actor has all that these rights allow."""
    return rights.everywhere.union(*rights.in_projects.values()) <= actor.permissions


def check_rights(actor: Actor, rights: Rights) -> None:
    """Raise unless the actor has all that these rights allow: nobody changes a person above themselves."""
    if not may_change(actor, rights):
        raise PermissionDenied("You cannot assign or change a role with more permissions than yours.")


def heir(actor: Actor, user_id: UUID, *, but: UUID | None = None) -> Actor:
    """Return the member who gets jobs of a departing one, who is not `but`. Raises Invalid."""
    members = Membership.objects.select_related("user").filter(user_id=user_id)
    found = members.exclude(user_id=but).first() if but else members.first()
    if found is None:
        raise Invalid(fields={"jobs": ["Use keep, cancel, or the id of another member."]})
    rights = held.rights_of(membership_id=found.id)
    return Actor.person(tenant_id=actor.tenant_id, user_id=found.user_id, email=found.user.email, rights=rights)


def _adopt(actor: Actor, membership: Membership) -> list[str]:
    actor.require("tenant.manage")
    actor.require("endpoints.manage")
    return provenance.adopt(actor=actor, membership_id=membership.id)


def _locked_member(actor: Actor, user_id: UUID) -> Membership:
    begin(actor)
    membership = (
        Membership.objects.select_for_update(of=("self",), no_key=True)
        .select_related("user")
        .filter(user_id=user_id)
        .first()
    )
    if membership is None:
        raise NotFound
    refuse_self(actor, Q(id=membership.id))
    return membership
