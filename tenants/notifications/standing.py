"""Owners are notified when operators suspend their organisation, and when it works again, whatever they chose."""

from __future__ import annotations

from tenants.events.events import StandingChanged, subscribe
from tenants.models import Tenant
from tenants.notifications import notifications

CHANGED = "standing"
TITLES = {
    "suspended": "Your organisation is suspended",
    "closing": "Your organisation is being closed",
    "active": "Your organisation works again",
}


@subscribe(StandingChanged)
def notify_owners(event: StandingChanged) -> None:
    """Notify the owners, in the bell and by email, of the standing that the tenant has now, with the reason."""
    tenant = Tenant.objects.get(pk=event.tenant_id)
    title = TITLES.get(event.standing)
    if title is None or tenant.standing != event.standing:  # changed again meanwhile
        return
    reason = f"Reason: {tenant.standing_reason}" if tenant.standing_reason else ""
    notifications.notify(permission="tenant.manage", kind=CHANGED, title=title, body=reason, path="settings/")
