"""Set up an organisation: by command, by environment, for the demo, and after an operator created it."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from tenants import operations
from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS
from tenants.clock import DatabaseNow
from tenants.events import outbox
from tenants.events.events import OwnerAwaited, subscribe
from tenants.identity import api_keys, invitations
from tenants.isolation.scoping import tenant_scope
from tenants.models import Invitation, Membership, Project
from tenants.rights import held


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """An organisation to make, and its owner. `api_key` is the secret of its key; one is drawn unless given."""

    name: str
    slug: str
    email: str
    password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)
    timezone: str = "UTC"
    currency: str = "EUR"


@dataclass(frozen=True)
class NewOrganisation:
    """The new organisation; `api_key` is shown only here."""

    tenant_id: UUID
    slug: str
    email: str
    api_key: str

    def as_json(self) -> dict[str, Any]:
        """Return the output of `create_tenant`."""
        return {"tenant": str(self.tenant_id), "slug": self.slug, "email": self.email, "api_key": self.api_key}


def create(wanted: Wanted, *, with_key: bool = True) -> NewOrganisation:
    """Create a tenant, its owner and, by default, a key with all scopes; raise `TenantExists` or `Invalid`."""
    tenant = operations.create_tenant(
        name=wanted.name,
        slug=wanted.slug,
        email=wanted.email,
        password=wanted.password,
        timezone=wanted.timezone,
        currency=wanted.currency,
    )
    if not with_key:
        return NewOrganisation(tenant.id, tenant.slug, wanted.email, "")
    key = api_keys.create_api_key(
        actor=Actor.system(tenant.id, "bootstrap"),
        name="bootstrap",
        scopes=sorted(PERMISSIONS),
        given=api_keys.Given(wanted.api_key or None, responsible_id=owner_of(tenant.id).id),
    )
    return NewOrganisation(tenant.id, tenant.slug, wanted.email, key.secret)


def settle_in(tenant_id: UUID) -> None:
    """Deliver the tenant's events at once, so that prices exist before its first job."""
    outbox.drain(tenant_id)


def owner_of(tenant_id: UUID) -> Actor:
    """Return the first owner as an actor, on whose behalf the demo acts."""
    with tenant_scope(tenant_id):
        owner = held.owners().select_related("membership__user").order_by("created_at").first()
        if owner is None or owner.membership is None:
            raise LookupError("A tenant always has an owner.")
        user = owner.membership.user
        return Actor.member(tenant_id=tenant_id, user_id=user.id, email=user.email, role="owner")


@subscribe(OwnerAwaited)
def open_the_tenant(event: OwnerAwaited) -> None:
    """Make the first project of a tenant that an operator created, and invite its owner, in place of an earlier one.

    The console has no right to either table, nor the key that signs an invitation.
    """
    Project.objects.get_or_create(slug="default", defaults={"name": "Default"})
    if Membership.objects.exists():
        return
    actor = Actor.system(event.tenant_id, "operator")
    live = Invitation.objects.filter(accepted_at=None, revoked_at=None, expires_at__gt=DatabaseNow())
    for other in live.exclude(email=event.email).values_list("id", flat=True):
        invitations.revoke(actor=actor, invitation_id=other)
    if not live.filter(email=event.email).exists():
        invitations.invite(actor=actor, email=event.email, role="owner")
