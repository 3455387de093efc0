"""How many devices and nodes the waiting work would use now, so that something outside can add and remove nodes.

Running work stays where it is, waiting work is packed onto what is free, then onto new nodes like the widest of the
class. A job counts only if the limits at once let it run beside all that come before it, so no more is wanted than quotas
and job sets allow. With enough devices guaranteed parts and shares bind nobody: the policy would start all of this work.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from heapq import heappop, heappush

from billing.rating.quantity import WHOLE
from compute.policy.order import AtOnce, place, scopes_of
from compute.policy.work import Device, Room, Scope, Work


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one class wants: devices and nodes in all, those of running work included. `per_node`: devices of a new node."""

    device_class: str
    devices: int
    nodes: int
    per_node: int


def wanted(
    works: Iterable[Work], devices: Iterable[Device], rooms: Mapping[Scope, Room], sizes: Mapping[str, int]
) -> tuple[list[Wanted], frozenset[Hashable]]:
    """Return what each class wants, by name, and the nodes of `devices` that nobody would use: safe to remove.

    `works` are all jobs that wait or run, `devices` all that are ready, `sizes` the devices of the widest node of each
    class. A gang that must be on one node and is wider than any is not counted: no number of nodes would start it. Nor is
    work for which no node that is there has the labels and room: a new node carries none.
    """
    grouped: dict[str, list[Work]] = defaultdict(list)
    works = list(works)
    sets = AtOnce(works)
    for work in works:
        grouped[work.device_class].append(work)
    here: dict[str, list[Device]] = defaultdict(list)
    for device in devices:
        here[device.device_class].append(device)
    found: list[Wanted] = []
    used: set[Hashable] = set()
    for name in sorted({*grouped, *here, *sizes}):
        plan = _Plan(here[name], max(sizes.get(name, 1), 1))
        plan.place(grouped[name], rooms, sets)
        found.append(plan.answer(name))
        used |= plan.used_nodes
    return found, frozenset(device.node for these in here.values() for device in these) - used


@dataclass
class _Node:
    """A node, and how many of its devices nobody has. Without a `name` it is yet to be added."""

    name: Hashable
    size: int
    vacant: int
    labels: frozenset[str] = frozenset()


class _Plan:
    """The nodes of one class, those that are there first. Each step takes the same time in a large pool as in a small one."""

    def __init__(self, devices: list[Device], per_node: int) -> None:
        self._per_node = per_node
        self._ready = {device.id: device for device in devices}
        self._nodes: list[_Node] = []
        self._with_vacant: dict[int, list[int]] = defaultdict(
            list
        )  # heaps of places in `_nodes`, some of them outdated
        # What is left of devices that a tenant's jobs share, sorted.
        self._parts: dict[Hashable, list[int]] = defaultdict(list)
        self._elsewhere: dict[Hashable, set[Hashable]] = defaultdict(set)  # held, but not ready: cordoned, or silent
        self._widest = per_node

    def place(self, works: list[Work], rooms: Mapping[Scope, Room], sets: AtOnce) -> None:
        """Keep running work, then place waiting work in the order of the queue as far as the limits let it run."""
        left, sharing = dict.fromkeys(self._ready, WHOLE), dict[Hashable, Hashable]()
        held: dict[Scope, int] = defaultdict(int)
        for work in works:
            for device in work.held:
                if device.id in left:
                    left[device.id] -= work.share
                    sharing[device.id] = work.tenant_id
                else:
                    self._elsewhere[device.node].add(device.id)
            if work.held:
                _count(work, held)
        by_node: dict[Hashable, _Node] = {}
        for device in self._ready.values():
            node = by_node.setdefault(device.node, _Node(device.node, 0, 0, device.labels))
            node.size += 1
            node.vacant += left[device.id] == WHOLE
            if 0 < left[device.id] < WHOLE:
                insort(self._parts[sharing[device.id]], left[device.id])
        # Those in use first, so that nodes stay empty as a whole; else in their order.
        for node in sorted(by_node.values(), key=lambda node: node.vacant == node.size):
            self._add(node)
        for work in sorted((one for one in works if not one.held), key=place):
            if sets.full(work) or not self._may_run(work, rooms, held) or (work.labels and not self._seat_there(work)):
                continue
            sets.start(work)
            _count(work, held)
            if not work.labels:
                self._seat(work)

    def _may_run(self, work: Work, rooms: Mapping[Scope, Room], held: Mapping[Scope, int]) -> bool:
        if work.one_node and work.devices > self._widest:
            return False
        for scope in scopes_of(work) if rooms else ():
            limit = rooms[scope].limit if scope in rooms else None
            if limit is not None and held.get(scope, 0) + work.amount > limit * WHOLE:
                return False
        return True

    def _seat(self, work: Work) -> None:
        if work.share < WHOLE:
            self._seat_share(work)
            return
        whole = self._first(work.devices)
        if whole is not None:
            self._take(whole, work.devices)
            return
        missing = work.devices
        while missing and not work.one_node and (place := self._first(1)) is not None:
            missing -= self._take(place, min(missing, self._nodes[place].vacant))
        while missing:
            size = max(self._per_node, missing if work.one_node else 0)
            missing -= self._take(self._add(_Node(None, size, size)), min(missing, size))

    def _seat_there(self, work: Work) -> bool:
        """Place work on present nodes that carry its labels, a share on a device of its own; False if they have no room."""
        fitting = [
            at
            for at, node in enumerate(self._nodes)
            if node.name is not None and node.vacant and work.labels <= node.labels
        ]
        if work.one_node:
            fitting = [at for at in fitting if self._nodes[at].vacant >= work.devices][:1]
        if sum(self._nodes[at].vacant for at in fitting) < work.devices:
            return False
        missing = work.devices
        for at in fitting:
            missing -= self._take(at, min(missing, self._nodes[at].vacant)) if missing else 0
        if work.share < WHOLE:
            insort(self._parts[work.tenant_id], WHOLE - work.share)
        return True

    def _seat_share(self, work: Work) -> None:
        """Put a share on the device of its tenant's shares with the least room that is enough, else on a vacant one."""
        parts = self._parts[work.tenant_id]
        at = bisect_left(parts, work.share)
        if at < len(parts):
            left = parts.pop(at)
        else:
            place = self._first(1)
            if place is None:
                place = self._add(_Node(None, self._per_node, self._per_node))
            self._take(place, 1)
            left = WHOLE
        if left > work.share:
            insort(parts, left - work.share)

    def _add(self, node: _Node) -> int:
        self._nodes.append(node)
        self._widest = max(self._widest, node.size)
        place = len(self._nodes) - 1
        heappush(self._with_vacant[node.vacant], place)
        return place

    def _first(self, vacant: int) -> int | None:
        """Return the place of the first node with so many vacant devices."""
        best: int | None = None
        for number, places in self._with_vacant.items():
            if number >= vacant:
                while places and self._nodes[places[0]].vacant != number:
                    heappop(places)
                if places and (best is None or places[0] < best):
                    best = places[0]
        return best

    def _take(self, place: int, number: int) -> int:
        """Take so many vacant devices of the node at a place; return their number."""
        node = self._nodes[place]
        node.vacant -= number
        if node.vacant:
            heappush(self._with_vacant[node.vacant], place)
        return number

    @property
    def used_nodes(self) -> set[Hashable]:
        """The present nodes that somebody uses, or would."""
        return {node.name for node in self._nodes if node.vacant < node.size and node.name is not None} | set(
            self._elsewhere
        )

    def answer(self, name: str) -> Wanted:
        """Return what the plan uses."""
        new = sum(node.name is None for node in self._nodes)
        devices = sum(node.size - node.vacant for node in self._nodes) + sum(map(len, self._elsewhere.values()))
        return Wanted(name, devices, len(self.used_nodes) + new, self._per_node)


def _count(work: Work, held: dict[Scope, int]) -> None:
    for scope in scopes_of(work):
        held[scope] += work.amount
