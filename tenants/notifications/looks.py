"""Owners are notified when an operator may look inside their tenant, by bell and by email, whatever they chose."""

from __future__ import annotations

from tenants.events.events import GlassBroken, subscribe
from tenants.models import BreakGlass
from tenants.notifications import notifications

TOLD = "break_glass"


@subscribe(GlassBroken)
def tell_owners(event: GlassBroken) -> None:
    """Notify the owners, in the bell and by email, that an operator may look inside, why, and until when."""
    look = BreakGlass.objects.filter(id=event.look_id).first()
    if look is None or look.ends_at is None:
        return
    until = f"{look.ends_at:%Y-%m-%d %H:%M} UTC"
    notifications.notify(
        permission="tenant.manage",
        kind=TOLD,
        title="An operator of this installation looks inside your organisation",
        body=f"It reads projects, people, data, jobs, models and endpoints until {until}, and changes nothing. "
        f"Reason: {look.reason}",
        path=f"audit/?acts=all&target={look.id}",
    )
