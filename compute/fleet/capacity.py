"""Wanted capacity as operators read it: what the queue would use now, beside what is ready."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Count, Q

from compute.models import TAKES_WORK, CapacityWanted, Device, DeviceState
from compute.queries.capacity import class_title, silent_before

NAMED = 5


@dataclass(frozen=True)
class ClassCapacity:
    """One class: devices and nodes that the queue would use now, those that are ready, and the nodes that nobody would use."""

    device_class: str
    devices_wanted: int
    nodes_wanted: int
    devices_per_node: int
    devices_ready: int
    nodes_ready: int
    unneeded_nodes: tuple[str, ...]
    observed_at: datetime

    @property
    def class_title(self) -> str:
        """The device class as pages write it."""
        return class_title(self.device_class)

    @property
    def named(self) -> str:
        """The first of the unneeded nodes, and how many more there are."""
        more = len(self.unneeded_nodes) - NAMED
        return ", ".join(self.unneeded_nodes[:NAMED]) + (f" and {more} more" if more > 0 else "")


def wanted() -> list[ClassCapacity]:
    """Return the wanted capacity of each class, by name, as the leading controller saw it at its last sweep."""
    live = TAKES_WORK & Q(state=DeviceState.READY, node__last_seen_at__gt=silent_before())
    rows = (
        Device.objects.filter(live, serves=False)
        .values_list("device_class")
        .annotate(devices=Count("id"), nodes=Count("node", distinct=True))
    )
    ready = {name: (devices, nodes) for name, devices, nodes in rows}
    return [
        ClassCapacity(
            device_class=row.device_class,
            devices_wanted=row.devices,
            nodes_wanted=row.nodes,
            devices_per_node=row.per_node,
            devices_ready=ready.get(row.device_class, (0, 0))[0],
            nodes_ready=ready.get(row.device_class, (0, 0))[1],
            unneeded_nodes=tuple(row.unneeded),
            observed_at=row.at,
        )
        for row in CapacityWanted.objects.order_by("device_class")
    ]
