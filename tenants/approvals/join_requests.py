"""Requests to join, by people whom the identity provider names and who are no members yet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast
from uuid import UUID, uuid5

from tenants.access.actor import Actor
from tenants.access.permissions import ROLE_PERMISSIONS
from tenants.access.standing import Standing
from tenants.approvals import approvals, kinds
from tenants.errors import Conflict
from tenants.identity.holders import check_lasting
from tenants.identity.members import check_role
from tenants.identity.providers import people
from tenants.identity.providers.oidc import Identity
from tenants.identity.providers.required import is_captured
from tenants.models import Approval, IdentityProvider, Membership, Tenant

KIND = "join"


def request(*, provider: IdentityProvider, identity: Identity, reason: str, origin: Mapping[str, Any]) -> Approval:
    """Ask to become a member with the provider's role for new members.

    The provider has just named the person in this browser. Raises AddressNotProven, Conflict, Invalid, TooManyOpen.
    """
    email = people.checked_address(provider, identity)
    if Membership.objects.filter(user__email=email).exists():
        raise Conflict(f"{email} is already a member. Log in again.")
    # There may be no account yet: the requester is known by their subject at the provider.
    person = uuid5(provider.id, identity.subject)
    standing = cast(Standing, Tenant.objects.values_list("standing", flat=True).get(id=provider.tenant_id))
    actor = Actor(
        kind="user",
        standing=standing,
        tenant_id=provider.tenant_id,
        id=person,
        label=email,
        permissions=frozenset({"tenant.view"}),
        **origin,
    )
    wanted = {"email": email, "name": identity.name[:120], "role": provider.default_role, "provider": str(provider.id)}
    return approvals.request(actor=actor, kind=KIND, target=email[:120], wanted=wanted, reason=reason)


def _apply(actor: Actor, row: Approval) -> None:
    wanted = row.wanted
    provider = IdentityProvider.objects.filter(id=UUID(wanted["provider"])).first()
    if provider is None or not is_captured(wanted["email"]):
        raise Conflict(
            "The identity provider or its domain was removed since. Decline this request, and invite the person."
        )
    if Membership.objects.filter(user__email=wanted["email"]).exists():
        raise Conflict(f"{wanted['email']} is already a member.")
    role = wanted["role"]
    check_role(actor, role)
    check_lasting(actor, ROLE_PERMISSIONS[role])
    user = people.account_of(wanted["email"])
    people.join(actor=actor, provider=provider, user=user, email=wanted["email"], role=role)


def _describe(wanted: Mapping[str, Any], target: str) -> str:
    return f"Let {target} join with the role {wanted['role']}."


kinds.register(
    kinds.ApprovalKind(
        name=KIND, title="Membership", permission="members.manage", asks="tenant.view", apply=_apply, describe=_describe
    )
)
