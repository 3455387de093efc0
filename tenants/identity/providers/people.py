"""From an identity to a member: known by subject, linked by an address in a proven domain, or made a member just in time.

A provider speaks for its tenant only. So an account that exists is never changed, and the person's session is bound to the
tenant: but one whose address was never proven may be somebody else's, and loses its log-in when a provider that proved
the domain names the address. Somebody whom a person removed comes back by a person's act only.
"""

from __future__ import annotations

from typing import cast
from uuid import UUID

from allauth.mfa.models import Authenticator
from django.db import IntegrityError, transaction

from tenants.access.actor import Actor
from tenants.access.standing import CHANGE_NOTHING, TakesAway
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenants.events import events
from tenants.identity import invitation_queries, invitations, sessions
from tenants.identity.members import MEMBER_ADDED
from tenants.identity.providers.oidc import Identity
from tenants.identity.providers.required import is_captured
from tenants.models import (
    SAML,
    ExternalIdentity,
    FormerMember,
    IdentityProvider,
    Membership,
    ScimUser,
    Session,
    Tenant,
    User,
)
from tenants.operations import check_email
from tenants.rights import held

IDENTITY_LINKED = AuditAction("tenants.external_identity.linked")
IDENTITY_UNLINKED = AuditAction("tenants.external_identity.unlinked", while_closing=True)
LOG_IN_RESET = AuditAction("tenants.member.log_in_reset")
LONGEST_NAME = 120


class AddressNotProven(PermissionDenied):
    """The identity provider may not speak for this address: the organisation has not proven its domain, or the provider has not verified the address."""

    code = "address_not_proven"


class NotAMember(PermissionDenied):
    """You are no member of this organisation. Ask an owner or admin to invite you."""

    code = "not_a_member"


class NobodyJoins(PermissionDenied):
    """This organisation is being closed: nobody joins it any more."""

    code = "tenant_suspended"


class AccessRemoved(PermissionDenied):
    """Your access to this organisation has ended. Ask an owner or admin to invite you again."""

    code = "access_removed"


class OtherIdentity(Conflict):
    """Another identity of the provider belongs to this address. Ask an owner of the organisation to unlink it."""

    code = "other_identity"


def provider_actor(provider: IdentityProvider) -> Actor:
    """Return the actor that stands in the log for what a provider does."""
    return Actor.system(provider.tenant_id, f"identity provider {provider.name}")


def admit(provider: IdentityProvider, identity: Identity) -> User:
    """Return the account of a person whom the provider names, as a member of the open tenant.

    Links the identity, and makes a member where a person invited them, or where the provider may. Raises AddressNotProven, NotAMember, AccessRemoved,
    NobodyJoins, OtherIdentity.
    """
    link = _link(provider, identity)
    if link is None or not Membership.objects.filter(user_id=link.user_id).exists():
        # First log-ins of a tenant run one after the other, so that two of one person make one member.
        IdentityProvider.objects.select_for_update(no_key=True).get(id=provider.id)
        link = _link(provider, identity)
    user = link.user if link is not None else _account(provider, identity)
    email = user.email if user is not None else checked_address(provider, identity)
    if user is not None and not user.is_active:
        raise AccessRemoved
    if user is None or not Membership.objects.filter(user_id=user.id).exists():
        if Tenant.objects.filter(id=provider.tenant_id, standing__in=CHANGE_NOTHING).exists():
            raise NobodyJoins
        offer = invitation_queries.offered_to(email)
        if offer is not None:
            user = invitations.accept_named(offer=offer, user=user or new_account(email, identity.name))
        else:
            _check_joining(provider, user)
            user = join(provider=provider, actor=provider_actor(provider), user=user, email=email, name=identity.name)
    start_afresh(actor=provider_actor(provider), user=user)
    if link is None:
        _linked(actor=provider_actor(provider), provider=provider, user=user, identity=identity)
    else:
        ExternalIdentity.objects.filter(id=link.id).update(last_used_at=DatabaseNow())
    return user


@operation(MEMBER_ADDED)
def join(
    *, actor: Actor, provider: IdentityProvider, user: User | None, email: str, name: str = "", role: str = ""
) -> User:
    """Make a person a member with the provider's role for new members, or with `role`; a missing account has no password.

    The caller has checked the address and the actor's right.
    """
    person = user or new_account(email, name)
    start_afresh(actor=actor, user=person)
    role = role or provider.default_role
    held.give(Membership.objects.create(user=person), role, by=actor.label)
    FormerMember.objects.filter(user=person).delete()
    record(MEMBER_ADDED, actor=actor, target=("member", person.id, person.email), changes={"role": [None, role]})
    events.publish(events.MemberAdded(tenant_id=actor.tenant_id, user_id=person.id))
    return person


def checked_address(provider: IdentityProvider, identity: Identity) -> str:
    """Return the address by which an identity may be linked: verified, in a proven domain. Raises AddressNotProven."""
    try:
        email = check_email(identity.email)
    except Invalid as error:
        raise AddressNotProven from error
    verified = identity.email_verified is True or provider.kind == SAML
    trusted = provider.trusts_email and identity.email_verified is None
    if not (verified or trusted) or not is_captured(email):
        raise AddressNotProven
    return email


def account_of(email: str) -> User | None:
    """Return the tenants' account of an address."""
    return User.objects.filter(email=email, is_operator=False).first()


def _link(provider: IdentityProvider, identity: Identity) -> ExternalIdentity | None:
    rows = ExternalIdentity.objects.select_related("user")
    return rows.filter(provider=provider, subject=identity.subject).first()


def _account(provider: IdentityProvider, identity: Identity) -> User | None:
    """Return the account that an identity is to be linked to; None where there is none yet."""
    user = account_of(checked_address(provider, identity))
    if user is not None and ExternalIdentity.objects.filter(provider=provider, user=user).exists():
        raise OtherIdentity
    return user


def _check_joining(provider: IdentityProvider, user: User | None) -> None:
    if user is not None and (
        FormerMember.objects.filter(user=user).exists() or ScimUser.objects.filter(user=user, active=False).exists()
    ):
        raise AccessRemoved
    if not provider.just_in_time:
        raise NotAMember


def new_account(email: str, name: str) -> User:
    """Return a new account that never has a password, or the one made a moment ago. It logs nobody in by itself."""
    shown = name if name.isprintable() else ""
    try:
        with transaction.atomic():
            return User.objects.create_user(email, None, name=shown[:LONGEST_NAME], provider_only=True)
    except IntegrityError:  # another tenant's provider, or an invitation, made it a moment ago
        return cast(User, account_of(email))


def start_afresh(*, actor: Actor, user: User) -> None:
    """Take password, second factors and sessions from an account that somebody made by a link that no mailbox received.

    The person whom the provider names begins without what that somebody knows; a link for a forgotten password, sent to
    the address, gives the account a password again.
    """
    if not user.address_proven and not user.provider_only:
        _reset(actor=actor, user=user)


@operation(LOG_IN_RESET)
def _reset(*, actor: Actor, user: User) -> None:
    held_before = user.has_usable_password()
    factors, _ = Authenticator.objects.filter(user_id=user.id).delete()
    ended, _ = Session.objects.filter(user_id=user.id).delete()
    if not (held_before or factors or ended):
        unchanged("nothing opens the account")
        return
    user.set_unusable_password()
    user.save(update_fields=["password"])
    changes = {"password": [held_before, False], "second_factors": [factors, 0], "sessions": [ended, 0]}
    record(LOG_IN_RESET, actor=actor, target=("member", user.id, user.email), changes=changes)


@operation(IDENTITY_LINKED)
def _linked(*, actor: Actor, provider: IdentityProvider, user: User, identity: Identity) -> None:
    ExternalIdentity.objects.create(
        provider=provider, subject=identity.subject, user=user, email=user.email, last_used_at=DatabaseNow()
    )
    record(
        IDENTITY_LINKED,
        actor=actor,
        target=("member", user.id, user.email),
        changes={"provider": [None, provider.name]},
    )


@operation(IDENTITY_UNLINKED)
def unlink(*, actor: Actor, identity_id: UUID) -> None:
    """Forget which person an identity is, and end the sessions that it opened; the membership stays. Raises NotFound."""
    actor.require(TakesAway("identity.manage"))
    row = ExternalIdentity.objects.select_related("user").filter(id=identity_id).first()
    if row is None:
        raise NotFound
    ExternalIdentity.objects.filter(id=row.id).delete()
    sessions.end_bound(actor.tenant_id, row.user_id)
    record(IDENTITY_UNLINKED, actor=actor, target=("member", row.user_id, row.user.email))
