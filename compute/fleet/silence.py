"""What operators should know of the fleet: hosts that fall silent, and devices that take no more work."""

from __future__ import annotations

from datetime import timedelta

from compute.fleet import faults
from compute.models import Device, DeviceState, Node
from compute.queries.capacity import seen_since
from tenants.clock import now
from tenants.operators.platform_events.catalogue import PlatformEventType, register
from tenants.operators.platform_events.raising import raise_event

LOST, CORDONED = "node.lost", "device.cordoned"
#: What is older was noticed before, or concerns nobody any more.
RECENT = timedelta(days=1)
MOST = 100

register(
    PlatformEventType(
        name=LOST, title="A host was lost: it sends no heartbeat", reads="fleet.view", acts="fleet.manage"
    ),
    PlatformEventType(
        name=CORDONED, title="A device was cordoned: it takes no more work", reads="fleet.view", acts="fleet.manage"
    ),
)


def look() -> None:
    """Raise each host that fell silent without leaving, and each device that was cordoned, within a day: three queries.

    A cordon for a fault also becomes an entry of the operator log.
    """
    since = now() - RECENT
    silent = Node.objects.filter(last_seen_at__lte=seen_since(), last_seen_at__gt=since, accepting=True)
    for node in silent.order_by("id")[:MOST]:
        raise_event(LOST, of=("node", node.id), path="fleet/", once=f"{node.id} {node.boot}", data={"node": node.name})
    cordoned = Device.objects.filter(state=DeviceState.CORDONED, state_at__gt=since).select_related("node")
    found = list(cordoned.order_by("id")[:MOST])
    for device in found:
        raise_event(
            CORDONED,
            of=("device", device.id),
            path="fleet/",
            once=f"{device.id} {device.state_at.isoformat()}",
            data={"node": device.node.name, "device": device.name},
        )
    for device in faults.unentered(found):
        faults.enter(device.id)
