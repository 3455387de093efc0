"""Handlers of other apps' events."""

from __future__ import annotations

from billing import pricing
from tenants.events import TenantCreated, subscribe


@subscribe(TenantCreated)
def give_first_prices(event: TenantCreated) -> None:
    """Give a new tenant its meters and first price book."""
    pricing.provision_defaults(event.tenant_id)
