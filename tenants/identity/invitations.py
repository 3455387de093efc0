"""Invitations: a single-use link for one email address, with a role fixed when it is issued.

The token is derived from the invitation's id and the installation's secret key, so that no usable secret is stored: the
table holds its hash, the outbox the invitation's id.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import math
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib.auth import password_validation
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from tenants.access.actor import Actor
from tenants.access.permissions import ROLE_PERMISSIONS, may_assign
from tenants.access.standing import TakesAway
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow, now
from tenants.errors import Conflict, ExchequerError, Invalid, NotFound, PermissionDenied, RateLimited
from tenants.events import events
from tenants.events.external_work import mail_is_sent
from tenants.identity import creators, provenance
from tenants.identity.holders import check_lasting
from tenants.identity.members import MEMBER_ADDED, came_back, check_role
from tenants.ids import uuid7
from tenants.isolation import limits
from tenants.isolation.scoping import tenant_scope
from tenants.models import Invitation, Membership, Tenant, User
from tenants.operations import check_email, check_text
from tenants.rights import held

INVITED = AuditAction("tenants.invitation.issued")
ACCEPTED = AuditAction("tenants.invitation.accepted")
REVOKED = AuditAction("tenants.invitation.revoked", while_closing=True)
VALID_DAYS = 7
#: Invitations per organisation in 24 hours, revoked ones included, since their emails were sent.
MOST_A_DAY = 100
#: Of these to one address, so that nobody can flood a stranger's mailbox.
MOST_TO_ONE = 5


def _could_issue(row: Invitation, own: frozenset[str]) -> bool:
    return "members.manage" in own and may_assign(own, row.role)


provenance.register(
    provenance.Kind(
        "invitation",
        Invitation,
        REVOKED,
        label=lambda row: str(row.email),
        could_make=lambda row, own: _could_issue(row, own.everywhere),
        live=Q(revoked_at=None, accepted_at=None),
    )
)


class TooManyInvitations(RateLimited):
    """This organisation has reached its daily limit of invitations. Try again later."""

    code = "too_many_invitations"


class InvitationGone(ExchequerError):
    """This invitation is used, revoked, expired or unknown. Ask for a new one."""

    code = "invitation_gone"
    status = 410


class WrongAccount(PermissionDenied):
    """This invitation is for another email address. Log out and follow the link again."""

    code = "wrong_account"


class AccountExists(Conflict):
    """An account with this email address exists. Log in with it and follow the link again. An account that an identity provider made has no password: log in by your organisation. It joins no other one: ask for an invitation to another address."""

    code = "account_exists"


@dataclass(frozen=True)
class InvitationDetails:
    """What the holder of a valid link may see."""

    tenant_id: UUID
    id: UUID
    tenant: str
    slug: str
    email: str
    role: str
    invited_by: str
    expires_at: datetime


@operation(INVITED)
def invite(*, actor: Actor, email: str, role: str) -> Invitation:
    """Invite an address with a role not above the actor's own; an open invitation of that address is revoked.

    It is revoked with its issuer: the member, or the API key. Raises `Conflict` for a member, `TooManyInvitations`. The
    email is sent through the outbox.
    """
    actor.require("members.manage")
    check_role(actor, role)
    check_lasting(actor, ROLE_PERMISSIONS[role])
    email = check_email(email)
    if Membership.objects.filter(user__email=email).exists():
        raise Conflict(f"{email} is already a member.")
    creator = creators.lock_creator(actor)
    if not _could_issue(Invitation(role=role), creator.permissions):
        raise creators.AccessEnded
    _check_limit(email)
    for earlier in Invitation.objects.select_for_update(no_key=True).filter(
        email=email, accepted_at=None, revoked_at=None
    ):
        check_role(actor, earlier.role)
        _withdraw(actor, earlier, "replaced by a new invitation")
    invitation_id = uuid7()
    row = Invitation.objects.create(
        id=invitation_id,
        email=email,
        role=role,
        token_hash=hash_of(token_of(invitation_id)),
        invited_by=actor.label,
        invited_by_id=creator.person_id,
        expires_at=creator.until(now() + timedelta(days=VALID_DAYS)),
        mailed=mail_is_sent(),
        **creator.origin(),
    )
    record(INVITED, actor=actor, target=("invitation", row.id, email), changes={"role": [None, role]})
    events.publish(events.InvitationIssued(tenant_id=actor.tenant_id, invitation_id=row.id))
    return row


@operation(REVOKED)
def revoke(*, actor: Actor, invitation_id: UUID) -> None:
    """Revoke an invitation: its link no longer works."""
    actor.require(TakesAway("members.manage"))
    row = Invitation.objects.select_for_update(no_key=True).filter(id=invitation_id).first()
    if row is None:
        raise NotFound
    if row.accepted_at is not None:
        raise Conflict(f"{row.email} has already accepted this invitation. Remove the member instead.")
    check_role(actor, row.role)
    if row.revoked_at is not None:
        unchanged("the invitation is withdrawn already")
        return
    _withdraw(actor, row, "")


def accept(
    *, token: str, user: User | None, name: str = "", password: str = "", ip: str = ""
) -> tuple[User, InvitationDetails]:
    """Make the invited person a member: `user` if logged in, else a new account with a name and a password.

    Of concurrent attempts one succeeds. Raises `InvitationGone`, `WrongAccount`, `AccountExists`, or `Invalid`.
    """
    offer = find(token)
    if user is not None and user.email != offer.email:
        raise WrongAccount(f"This invitation is for {offer.email}. Log out and follow the link again.")
    told: dict[str, Any] = {"id": user.id if user else None, "label": offer.email, "ip": ip}
    person = Actor(kind="user", tenant_id=offer.tenant_id, permissions=frozenset(), **told)
    return _accept(actor=person, offer=offer, user=user, name=name, password=password), offer


@operation(ACCEPTED)
def _accept(*, actor: Actor, offer: InvitationDetails, user: User | None, name: str, password: str) -> User:
    # The issuer is locked first, as in revocation. Then the conditional UPDATE decides: the second request waits for it
    # and finds the invitation used.
    row = Invitation.objects.filter(id=offer.id).first()
    if row is None or not _still_backed(row):
        raise InvitationGone
    taken = Invitation.objects.filter(
        id=offer.id, accepted_at=None, revoked_at=None, expires_at__gt=DatabaseNow()
    ).update(accepted_at=DatabaseNow())
    if taken != 1:
        raise InvitationGone
    person = user or _new_account(row, name, password)
    if row.mailed and not person.address_proven:
        User.objects.filter(id=person.id).update(address_proven=True)
    if Membership.objects.filter(user_id=person.id).exists():
        raise Conflict(f"{person.email} is already a member.")
    held.give(Membership.objects.create(user=person), row.role, by=row.invited_by)
    came_back(person.id)
    actor = replace(actor, id=person.id)
    changes = {"role": [None, row.role], "invited_by": [None, row.invited_by]}
    record(ACCEPTED, actor=actor, target=("invitation", row.id, row.email), changes=changes)
    record(MEMBER_ADDED, actor=actor, target=("member", person.id, person.email), changes={"role": [None, row.role]})
    events.publish(events.MemberAdded(tenant_id=actor.tenant_id, user_id=person.id))
    return person


def find(token: str) -> InvitationDetails:
    """Return the offer of a link; raises `InvitationGone` unless it could be accepted now."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenant_id, id FROM exchequer_invitation(%s)", [hash_of(token)])
        found = cursor.fetchone()
    if found is None:
        raise InvitationGone
    tenant_id, invitation_id = found
    with tenant_scope(tenant_id):
        open_ones = Invitation.objects.filter(accepted_at=None, revoked_at=None, expires_at__gt=DatabaseNow())
        row = open_ones.filter(id=invitation_id).first()
        tenant = Tenant.objects.get(id=tenant_id)
        if row is None or not acceptable(row, tenant):
            raise InvitationGone
        return details_of(row, tenant)


def accept_named(*, offer: InvitationDetails, user: User) -> User:
    """Accept an invitation for the person whom the tenant's own identity provider names by that address, and return them.

    Raises InvitationGone.
    """
    person = Actor(kind="user", tenant_id=offer.tenant_id, id=user.id, label=user.email, permissions=frozenset())
    return _accept(actor=person, offer=offer, user=user, name="", password="")


def token_of(invitation_id: UUID) -> str:
    """Return the secret part of an invitation's link: 256 bits that only this installation can compute."""
    digest = hmac.digest(settings.SECRET_KEY.encode(), b"invitation:" + invitation_id.bytes, "sha256")
    return base64.urlsafe_b64encode(digest).decode().rstrip("=")


def hash_of(token: str) -> bytes:
    """Return the stored hash of a token: 32 bytes."""
    return hashlib.sha256(token.encode()).digest()


def _withdraw(actor: Actor, row: Invitation, reason: str) -> None:
    Invitation.objects.filter(id=row.id).update(revoked_at=DatabaseNow())
    record(
        REVOKED,
        actor=actor,
        target=("invitation", row.id, row.email),
        changes={"role": [row.role, None]},
        reason=reason,
    )


def acceptable(row: Invitation, tenant: Tenant) -> bool:
    """Return whether an open invitation could be accepted: its issuer may still issue it, and the tenant does not close."""
    return _still_backed(row) and tenant.standing not in ("closing", "closed")


def details_of(row: Invitation, tenant: Tenant) -> InvitationDetails:
    """Return what the holder of a valid link may see."""
    offered = (row.email, row.role, row.inviter, row.expires_at)
    return InvitationDetails(tenant.id, row.id, tenant.name, tenant.slug, *offered)


def _still_backed(row: Invitation) -> bool:
    """Return whether the issuer still exists and may grant that role now."""
    try:
        creator = creators.creator_of(row)
    except creators.AccessEnded:
        return False
    return _could_issue(row, creator.permissions)


def _check_limit(email: str) -> None:
    """Raise TooManyInvitations beyond a limit."""
    limits.take_turns(Invitation)
    since = DatabaseNow() - timedelta(days=1)
    recent = Invitation.objects.filter(created_at__gt=since).order_by("-created_at")
    often = f"{email} was invited {MOST_TO_ONE} times in a day. Try again later."
    for sent, most, words in ((recent, MOST_A_DAY, None), (recent.filter(email=email), MOST_TO_ONE, often)):
        for sent_at in sent.values_list("created_at", flat=True)[most - 1 : most]:
            wait = math.ceil((sent_at + timedelta(days=1) - now()).total_seconds())
            raise TooManyInvitations(words, retry_after=max(wait, 1), most=most)


def _new_account(offer: Invitation, name: str, password: str) -> User:
    # Faults of name or password come first, so that an invalid form does not reveal whether an account exists.
    name = check_text(name, "name")
    if password == settings.PUBLISHED_PASSWORD:
        raise Invalid(fields={"password": ["This password is public. Choose another one."]})
    try:
        password_validation.validate_password(password, User(email=offer.email, name=name))
    except ValidationError as error:
        raise Invalid(fields={"password": list(error.messages)}) from error
    try:
        with transaction.atomic():
            return User.objects.create_user(offer.email, password, name=name, address_proven=offer.mailed)
    except IntegrityError as error:
        raise AccountExists from error
