"""Event subscribers: for other apps' events, and for this app's own that are handled after the commit."""

from __future__ import annotations

from billing import provisioning
from billing.budgets import alerts
from billing.events import BudgetThresholdReached
from billing.usage import draft_bounds
from tenants.events.events import TenantCreated, TimeZoneChanged, subscribe


@subscribe(TenantCreated)
def give_first_prices(event: TenantCreated) -> None:
    """Give a new tenant its meters, and a contract unless an operator chose one."""
    provisioning.provision_defaults(event.tenant_id)


@subscribe(TimeZoneChanged)
def move_end_of_month(event: TimeZoneChanged) -> None:
    """Let the draft of the running month end when the month does."""
    draft_bounds.follow_time_zone()


@subscribe(BudgetThresholdReached)
def notify_threshold(event: BudgetThresholdReached) -> None:
    """Notify those who manage budgets."""
    alerts.handle_threshold(event)
