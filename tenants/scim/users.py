"""What SCIM does to people: a membership begins, is described, and ends as a leaver's does.

An account that exists is the person's own and is never changed, unless nobody proved that it is (`people.start_afresh`);
what the provider states is kept beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction

from tenants.access.actor import Actor, TenantSuspended
from tenants.access.standing import CHANGE_NOTHING, WORDS
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import now
from tenants.errors import Conflict, Invalid, NotFound
from tenants.identity import members, sessions
from tenants.identity.departures import Departure
from tenants.identity.providers import people, queries
from tenants.identity.providers.required import domain_of, is_captured
from tenants.models import FormerMember, IdentityProvider, Membership, ScimUser, User
from tenants.notifications import notifications
from tenants.operations import check_email
from tenants.scim.errors import InvalidValue, Taken

PROVISIONED = AuditAction("tenants.scim_user.provisioned")
CHANGED = AuditAction("tenants.scim_user.changed")
DELETED = AuditAction("tenants.scim_user.deleted")
#: Kind of the notifications about what a leaver leaves behind.
LEFT = "leaver"


class RemovedByPerson(Conflict):
    """Somebody removed this person from the organisation: SCIM does not bring them back. Invite them instead."""

    code = "removed_by_person"


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A person as the provider wants them to be."""

    user_name: str
    external_id: str = ""
    active: bool = True
    attributes: Mapping[str, Any] = field(default_factory=dict)


@operation(PROVISIONED)
def provision(*, actor: Actor, provider: IdentityProvider, wanted: Wanted) -> ScimUser:
    """Make a person known, and a member with the provider's role for new members unless inactive.

    A member from before stays as they are. Raises Taken, InvalidValue, RemovedByPerson.
    """
    IdentityProvider.objects.select_for_update(no_key=True).get(id=provider.id)
    email = _checked(wanted.user_name)
    user = people.account_of(email)
    _check_free(email, None if user is None else user.id)
    is_member = user is not None and Membership.objects.filter(user=user).exists()
    name = str(wanted.attributes.get("displayName") or "")
    if wanted.active and not is_member:
        _check_return(user)
        user = people.join(actor=actor, provider=provider, user=user, email=email, name=name)
    user = user or people.new_account(email, name)
    people.start_afresh(actor=actor, user=user)
    try:
        with transaction.atomic():
            row = ScimUser.objects.create(
                user=user,
                user_name=email,
                external_id=wanted.external_id,
                attributes=dict(wanted.attributes),
                active=wanted.active or is_member,
            )
    except IntegrityError as taken:
        raise Taken from taken
    record(PROVISIONED, actor=actor, target=("member", user.id, user.email), changes={"active": [None, wanted.active]})
    if not wanted.active and is_member:
        _end(actor, row)
    return row


@operation(CHANGED)
def change(*, actor: Actor, provider: IdentityProvider, scim_id: UUID, wanted: Wanted) -> ScimUser:
    """Replace a person's description; inactive ends the membership as a leaver's, active again begins one.

    While the tenant is being closed it only ends one. Raises NotFound, Taken, InvalidValue, LastOwner, RemovedByPerson,
    TenantSuspended.
    """
    row = locked(scim_id)
    if actor.standing in CHANGE_NOTHING and (wanted.active or not row.active):
        raise TenantSuspended(WORDS[actor.standing])
    before = {"user_name": row.user_name, "external_id": row.external_id, "attributes": row.attributes}
    user_name = row.user_name if wanted.user_name.lower() == row.user_name else _checked(wanted.user_name)
    if user_name != row.user_name:
        _check_free(user_name, None)
        other = people.account_of(user_name)
        if other is not None and other.id != row.user_id and Membership.objects.filter(user=other).exists():
            raise Taken(f"{user_name} is the address of another member.")
    after = {"user_name": user_name, "external_id": wanted.external_id, "attributes": dict(wanted.attributes)}
    if before == after and row.active == wanted.active:
        unchanged("all of it is so already")
        return row
    changes: dict[str, Any] = {
        name: [before[name], value] for name, value in after.items() if before[name] != value and name != "attributes"
    }
    if before["attributes"] != after["attributes"]:
        changes["attributes"] = [sorted(before["attributes"]), sorted(after["attributes"])]
    if row.active != wanted.active:
        changes["active"] = [row.active, wanted.active]
    for name, value in after.items():
        setattr(row, name, value)
    if row.active and not wanted.active:
        _end(actor, row)
    elif wanted.active and not row.active:
        if not Membership.objects.filter(user=row.user).exists():
            _check_return(row.user)
            people.join(actor=actor, provider=provider, user=row.user, email=row.user.email)
        row.active = True
    row.changed_at = now()
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError as taken:
        raise Taken from taken
    record(CHANGED, actor=actor, target=("member", row.user_id, row.user.email), changes=changes)
    return row


@operation(DELETED)
def delete(*, actor: Actor, scim_id: UUID) -> None:
    """End the membership as a leaver's, and forget what the provider stated. Raises NotFound, LastOwner."""
    row = locked(scim_id)
    if row.active:
        _end(actor, row)
    ScimUser.objects.filter(id=row.id).delete()
    record(
        DELETED,
        actor=actor,
        target=("member", row.user_id, row.user.email),
        changes={"user_name": [row.user_name, None]},
    )


def locked(scim_id: UUID) -> ScimUser:
    """Return a person, locked. Raises NotFound."""
    rows = ScimUser.objects.select_related("user").select_for_update(no_key=True, of=("self",))
    row = rows.filter(id=scim_id).first()
    if row is None:
        raise NotFound
    return row


def _end(actor: Actor, row: ScimUser) -> None:
    """End a membership: credentials that descend from it are revoked with it, sessions open nothing any more."""
    if Membership.objects.filter(user_id=row.user_id).exists():
        left, work = _remove(actor, row.user_id)
        _notify(row.user.email, left, work)
    sessions.end_bound(actor.tenant_id, row.user_id)
    row.active = False
    ScimUser.objects.filter(id=row.id).update(active=False, changed_at=now())


def _remove(actor: Actor, user_id: UUID) -> tuple[Departure, str]:
    """Remove a member as the organisation chose for open jobs, and return what became of these in words.

    The membership ends in any case: jobs that cannot be handed over continue.
    """
    provider = queries.provider()
    jobs = queries.jobs_of_leavers(provider) if provider else "keep"
    heir = provider.leavers_heir.email if provider and provider.leavers_heir else ""
    try:
        left = members.remove_member(actor=actor, user_id=user_id, jobs=jobs)
    except Invalid as refused:
        why = " ".join(refused.fields.get("jobs", [refused.message]))
        left = members.remove_member(actor=actor, user_id=user_id)
        return left, f"continue, since they could not be handed over to {heir}. {why} Cancel them on the page Jobs."
    if jobs == "keep":
        return left, "continue: cancel them on the page Jobs."
    return left, "were cancelled." if jobs == "cancel" else f"were handed over to {heir}."


def _notify(email: str, left: Departure, work: str) -> None:
    """Notify those who manage members of what a leaver left behind: no dialog asked anybody."""
    if left:
        told = f" {left.jobs_words} of theirs {work}" if left.open_jobs else ""
        if left.known:
            told += f" Rotate the keys of service accounts that they made: {', '.join(one.name for one in left.known[:10])}."
        notifications.notify(
            permission="members.manage",
            kind=LEFT,
            title=f"The identity provider ended the membership of {email}",
            body=f"{len(left.credentials)} of their credentials were revoked.{told}",
            path="members/",
        )


def _checked(user_name: str) -> str:
    try:
        email = check_email(user_name)
    except Invalid as error:
        raise InvalidValue("userName: use the person's email address.") from error
    if not is_captured(email):
        raise InvalidValue(f"userName: the organisation has not verified the domain {domain_of(email)}.")
    return email


def _check_free(email: str, user_id: UUID | None) -> None:
    rows = ScimUser.objects.filter(user_name__iexact=email)
    if rows.exists() or (user_id is not None and ScimUser.objects.filter(user_id=user_id).exists()):
        raise Taken(f"There is a user {email} already.")


def _check_return(user: User | None) -> None:
    if user is not None and FormerMember.objects.filter(user=user, by_provider=False).exists():
        raise RemovedByPerson
