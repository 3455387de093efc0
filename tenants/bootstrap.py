"""Set up an organisation without a browser: by command, by environment, for the demo."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from tenants import operations
from tenants.access.actor import Actor
from tenants.access.permissions import PERMISSIONS
from tenants.events import outbox
from tenants.identity import api_keys
from tenants.isolation.scoping import tenant_scope
from tenants.models import Membership


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


def create(
    *,
    name: str,
    slug: str,
    email: str,
    password: str | None,
    api_key: str | None = None,
    timezone: str = "UTC",
    currency: str = "EUR",
    with_key: bool = True,
) -> NewOrganisation:
    """Create a tenant, its owner and, by default, a key with all scopes; raise `TenantExists` or `Invalid`."""
    tenant = operations.create_tenant(
        name=name, slug=slug, email=email, password=password, timezone=timezone, currency=currency
    )
    if not with_key:
        return NewOrganisation(tenant.id, tenant.slug, email, "")
    key = api_keys.create_api_key(
        actor=Actor.system(tenant.id, "bootstrap"),
        name="bootstrap",
        scopes=sorted(PERMISSIONS),
        secret=api_key or None,
        responsible_id=owner_of(tenant.id).id,
    )
    return NewOrganisation(tenant.id, tenant.slug, email, key.secret)


def settle_in(tenant_id: UUID) -> None:
    """Deliver the tenant's events at once, so that prices exist before its first job."""
    outbox.drain(tenant_id)


def owner_of(tenant_id: UUID) -> Actor:
    """Return the first owner as an actor, on whose behalf the demo acts."""
    with tenant_scope(tenant_id):
        owner = Membership.objects.select_related("user").filter(role="owner").order_by("created_at").first()
        if owner is None:
            raise LookupError("A tenant always has an owner.")
        return Actor.member(tenant_id=tenant_id, user_id=owner.user_id, email=owner.user.email, role="owner")
