"""How many devices and nodes the waiting work would use now, so that something outside can add and remove nodes.

Running work stays where it is, waiting work is packed onto what is free, then onto new nodes like the widest of the
class. A job counts only if the limits at once let it run beside all that come before it, so no more is wanted than quotas
allow. With enough devices guaranteed parts and shares bind nobody: the policy would start all of this work.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field

from compute.policy.order import place, scopes_of
from compute.policy.work import WHOLE, Device, Room, Scope, Work


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
    class. A gang that must be on one node and is wider than any is not counted: no number of nodes would start it.
    """
    grouped: dict[str, list[Work]] = defaultdict(list)
    for work in works:
        grouped[work.device_class].append(work)
    here: dict[str, list[Device]] = defaultdict(list)
    for device in devices:
        here[device.device_class].append(device)
    found: list[Wanted] = []
    used: set[Hashable] = set()
    for name in sorted({*grouped, *here, *sizes}):
        plan = _Plan(here[name], max(sizes.get(name, 1), 1))
        plan.place(grouped[name], rooms)
        found.append(plan.answer(name))
        used |= plan.used_nodes
    return found, frozenset(device.node for these in here.values() for device in these) - used


@dataclass
class _Node:
    """A node with what is left of each of its devices, in thousandths."""

    name: Hashable
    left: list[int] = field(default_factory=list)

    @property
    def vacant(self) -> int:
        return sum(one == WHOLE for one in self.left)

    @property
    def used(self) -> int:
        return len(self.left) - self.vacant


class _Plan:
    """The nodes of one class, those that are there first."""

    def __init__(self, devices: list[Device], per_node: int) -> None:
        self._per_node = per_node
        self._ready = {device.id: device for device in devices}
        self._nodes: list[_Node] = []
        self._elsewhere: dict[Hashable, set[Hashable]] = defaultdict(set)  # held, but not ready: cordoned, or silent

    def place(self, works: list[Work], rooms: Mapping[Scope, Room]) -> None:
        """Keep running work, then place waiting work in the order of the queue as far as the limits let it run."""
        left = dict.fromkeys(self._ready, WHOLE)
        held: dict[Scope, int] = defaultdict(int)
        for work in works:
            for device in work.held:
                if device.id in left:
                    left[device.id] -= work.share
                else:
                    self._elsewhere[device.node].add(device.id)
            if work.held:
                _count(work, held)
        by_node: dict[Hashable, _Node] = {}
        for device in self._ready.values():
            node = by_node.setdefault(device.node, _Node(device.node))
            node.left.append(left[device.id])
        # The fullest first, so that nodes stay empty as a whole; nodes of the same use keep their order.
        self._nodes = sorted(by_node.values(), key=lambda node: node.used == 0)
        for work in sorted((one for one in works if not one.held), key=place):
            if self._may_run(work, rooms, held):
                _count(work, held)
                self._seat(work)

    def _may_run(self, work: Work, rooms: Mapping[Scope, Room], held: Mapping[Scope, int]) -> bool:
        if work.one_node and work.devices > max(self._per_node, *(len(node.left) for node in self._nodes), 0):
            return False
        for scope in scopes_of(work):
            limit = rooms[scope].limit if scope in rooms else None
            if limit is not None and held.get(scope, 0) + work.amount > limit * WHOLE:
                return False
        return True

    def _seat(self, work: Work) -> None:
        if work.share < WHOLE:
            self._seat_share(work.share)
            return
        whole = next((node for node in self._nodes if node.vacant >= work.devices), None)
        if whole is not None:
            _take(whole, work.devices)
            return
        if work.one_node:
            _take(self._add(work.devices), work.devices)
            return
        missing = work.devices
        for node in self._nodes:
            missing -= _take(node, min(missing, node.vacant))
        while missing:
            missing -= _take(self._add(), min(missing, self._per_node))

    def _seat_share(self, share: int) -> None:
        fitting = [
            (one, index, node) for node in self._nodes for index, one in enumerate(node.left) if share <= one < WHOLE
        ]
        if fitting:
            _, index, node = min(fitting, key=lambda found: found[0])
            node.left[index] -= share
            return
        node = next((one for one in self._nodes if one.vacant), None) or self._add()
        node.left[node.left.index(WHOLE)] -= share

    def _add(self, least: int = 1) -> _Node:
        node = _Node(None, [WHOLE] * max(self._per_node, least))
        self._nodes.append(node)
        return node

    @property
    def used_nodes(self) -> set[Hashable]:
        """The present nodes that somebody uses, or would."""
        return {node.name for node in self._nodes if node.used and node.name is not None} | set(self._elsewhere)

    def answer(self, name: str) -> Wanted:
        """Return what the plan uses."""
        new = sum(node.name is None and node.used > 0 for node in self._nodes)
        devices = sum(node.used for node in self._nodes) + sum(len(ids) for ids in self._elsewhere.values())
        return Wanted(name, devices, len(self.used_nodes) + new, self._per_node)


def _count(work: Work, held: dict[Scope, int]) -> None:
    for scope in scopes_of(work):
        held[scope] += work.amount


def _take(node: _Node, number: int) -> int:
    """Take so many whole devices of a node; return their number."""
    for _ in range(number):
        node.left[node.left.index(WHOLE)] = 0
    return number
