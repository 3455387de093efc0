"""What a new tenant has from the start: its meters and a contract."""

from __future__ import annotations

from uuid import UUID

from billing.metering import meters
from billing.pricing import contracts
from tenants.access.actor import Actor
from tenants.isolation.scoping import current_tenant_id, tenant_scope


def provision_defaults(tenant_id: UUID | None = None) -> None:
    """Give a tenant, by default that of the open scope, its meters and a contract with the standard book, unless it has them."""
    tenant_id = tenant_id or current_tenant_id()
    with tenant_scope(tenant_id):
        meters.provide()
        contracts.open_first(actor=Actor.system(tenant_id, "billing"))
