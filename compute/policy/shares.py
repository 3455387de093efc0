"""Whose shares lie on which devices: in the plan of a round, and at this moment. One device is shared by one tenant alone."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterator

from compute.policy.work import Device, Work


class Shares:
    """The devices of which tenants have shares."""

    def __init__(self) -> None:
        self._planned: dict[Hashable, Hashable] = {}
        self._running: dict[Hashable, set[Hashable]] = defaultdict(set)
        self._near: dict[Hashable, dict[Hashable, Device]] = defaultdict(dict)

    def run(self, tenant: Hashable, device: Device) -> None:
        """Note that a tenant's share runs on a device now."""
        self._running[device.id].add(tenant)
        self._near[tenant][device.id] = device

    def plan(self, tenant: Hashable, device: Device) -> bool:
        """Note that the plan gives a tenant a share of a device; return whether it is its first one there."""
        first = device.id not in self._planned
        self._planned[device.id] = tenant
        self._near[tenant][device.id] = device
        return first

    def fill(self, tenant: Hashable, device: Device) -> None:
        """Note that nothing is left of a device."""
        self._near[tenant].pop(device.id, None)

    def planned(self, work: Work, device: Device) -> bool:
        """Return whether the plan gives the tenant of a job shares of a device."""
        return bool(self._planned.get(device.id) == work.tenant_id)

    def bars(self, work: Work, device: Device) -> bool:
        """Return whether the plan gives shares of a device to another tenant."""
        return bool(self._planned.get(device.id, work.tenant_id) != work.tenant_id)

    def others_run(self, work: Work, device: Device) -> bool:
        """Return whether a share of another tenant runs on a device now."""
        return bool(self._running and self._running.get(device.id, set()) - {work.tenant_id})

    def near(self, work: Work) -> Iterator[Device]:
        """Yield the devices that are not full of which the tenant of a job has shares, in the plan or now."""
        return (one for one in self._near[work.tenant_id].values() if not self.bars(work, one))

    def of(self, tenant: Hashable) -> Iterator[Device]:
        """Yield the devices that are not full of which the plan gives a tenant shares."""
        return (one for one in self._near[tenant].values() if self._planned.get(one.id) == tenant)
