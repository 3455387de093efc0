"""Handlers of events: other rooms', and this room's own that are due after the commit."""

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
def tell_of_a_threshold(event: BudgetThresholdReached) -> None:
    """Tell those who manage budgets."""
    alerts.tell(event)
