"""Event subscribers: for other apps' events, and for this app's own that are handled after the commit."""

from __future__ import annotations

from billing.budgets import alerts
from billing.events import BudgetThresholdReached
from billing.pricing import price_books
from tenants.events.events import TenantCreated, subscribe


@subscribe(TenantCreated)
def give_first_prices(event: TenantCreated) -> None:
    """Give a new tenant its meters and first price book."""
    price_books.provision_defaults(event.tenant_id)


@subscribe(BudgetThresholdReached)
def notify_threshold(event: BudgetThresholdReached) -> None:
    """Notify those who manage budgets."""
    alerts.handle_threshold(event)
