"""What of the fleet needs an operator's attention, and how much of it is used."""

from datetime import timedelta

from django.db.models import Count, Q

from compute.models import Device, DeviceState, Node
from compute.queries.capacity import seen_since
from compute.queries.device_hours import across_tenants
from tenants.clock import now
from tenants.operators.attention import Matter, Tile

DAY = timedelta(hours=24)


def silent() -> list[Matter]:
    """Return how many hosts are silent, for the console's home page: one statement."""
    number = Node.objects.filter(last_seen_at__lte=seen_since()).count()
    return [Matter(text="Hosts without a heartbeat", number=number, page="operator-fleet", level="bad")]


def utilised() -> Tile:
    """Return how many devices of live hosts work now, and the share of the last 24 hours that was allocated: three statements.

    What serves is busy as long as an endpoint has it, so that only devices of jobs have a share.
    """
    present = Device.objects.filter(node__last_seen_at__gt=seen_since()).exclude(state=DeviceState.GONE)
    counts = present.aggregate(all=Count("id"), busy=Count("id", filter=Q(held__gt=0)))
    end = now().replace(minute=0, second=0, microsecond=0)
    hours = across_tenants(end - DAY, end, ("device_class",))
    capacity = sum(one.capacity_s for one in hours)
    if not counts["all"]:
        value, note = "\u2013", "no host sends heartbeats"
    else:
        value = f"{counts['busy']} of {counts['all']}"
        share = sum(one.allocated_s + one.held_s for one in hours) / capacity if capacity else None
        note = "now" if share is None else f"now; {share:.0%} in use by jobs over the last 24 hours"
    return Tile(
        title="Devices in use", value=value, note=note.replace("%", "\u00a0%"), icon="cpu", page="operator-fleet"
    )
