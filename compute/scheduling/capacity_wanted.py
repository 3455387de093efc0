"""Keep how many devices and nodes the queue would use now: for the metric, and for the operators' API."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction
from django.db.models import Count

from compute.models import CapacityWanted, Device, DeviceState, Node
from compute.policy.wanted import wanted
from compute.scheduling.assign import ready_devices
from compute.scheduling.works import rooms_of, works_now
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import all_tenants

#: Waiting jobs of one organisation, project and person that are counted: no pool grows by more within a sweep.
MOST_IN_A_QUEUE = 500


def observe() -> None:
    """Replace what is kept by what the queue would use now."""
    sizes = _sizes()
    devices = ready_devices()
    with transaction.atomic(), all_tenants("wanted capacity counts all who wait"):
        works = works_now(set(sizes), MOST_IN_A_QUEUE)
        found, unneeded = wanted(works, devices, rooms_of(works, {}), sizes)
    names = dict(Node.objects.filter(id__in=[UUID(str(one)) for one in unneeded]).values_list("id", "name"))
    rows = [
        CapacityWanted(
            device_class=one.device_class,
            devices=one.devices,
            nodes=one.nodes,
            per_node=one.per_node,
            unneeded=sorted(
                {names[row.node] for row in devices if row.device_class == one.device_class and row.node in names}
            ),
            at=DatabaseNow(),
        )
        for one in found
    ]
    with transaction.atomic():
        CapacityWanted.objects.exclude(device_class__in=[row.device_class for row in rows]).delete()
        CapacityWanted.objects.bulk_create(
            rows,
            update_conflicts=True,
            unique_fields=["device_class"],
            update_fields=["devices", "nodes", "per_node", "unneeded", "at"],
        )


def _sizes() -> dict[str, int]:
    """Return the devices of the widest node of each class that jobs may ask for, also where no node is alive now."""
    rows = Device.objects.filter(serves=False).exclude(state=DeviceState.GONE).values_list("device_class", "node")
    sizes: dict[str, int] = {}
    for name, _, number in rows.annotate(number=Count("id")).order_by("device_class"):
        sizes[name] = max(sizes.get(name, 0), number)
    return sizes
