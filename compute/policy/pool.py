"""The devices of one class while a round is planned: what is taken, and where a job would fit."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Sequence

from billing.rating.quantity import WHOLE
from compute.policy.shares import Shares
from compute.policy.work import Device, Work


class Pool:
    """Devices with what is left of each in the plan, and what nobody holds at this moment.

    Work that gives way counts as gone until it is kept. A place is sought where nobody runs first; then with the work
    that gives way first (`victims`, in that order). Shares of one device go to work of one tenant alone, so its device is
    as taken for the others as a whole one: `taken` is what each tenant keeps from them.
    """

    def __init__(self, devices: Iterable[Device], running: Iterable[Work], victims: Sequence[Work]) -> None:
        self._left: dict[Hashable, int] = {}
        self._free: dict[Hashable, int] = {}
        self._nodes: dict[Hashable, list[Device]] = defaultdict(list)
        self._labels: dict[Hashable, frozenset[str]] = {}
        self._labelled: dict[frozenset[str], dict[Hashable, list[Device]]] = {frozenset(): self._nodes}
        self._room: dict[frozenset[str], tuple[int, int]] = {}
        for device in devices:
            self._left[device.id] = self._free[device.id] = WHOLE
            self._nodes[device.node].append(device)
            self._labels[device.node] = device.labels
        self._shares = Shares()
        for work in running:
            for device in work.held:
                if device.id in self._free:
                    self._free[device.id] -= work.share
                if work.share < WHOLE:
                    self._shares.run(work.tenant_id, device)
        held = {device.id: device for work in victims for device in work.held if device.id in self._left}
        self._yielding = list(held.values())  # once each, though several shares of it give way
        self.size = len(self._left)
        self._vacant = self.size
        self.left = self.size * WHOLE
        """What the plan has not taken, in thousandths."""
        self.taken: dict[Hashable, int] = defaultdict(int)
        """By tenant, in thousandths, its shared devices as whole ones; those that are not ready too."""
        self._by_id: list[Device] | None = None

    def keep(self, work: Work) -> bool:
        """Leave a running job where it is; False if the plan gave one of its devices to another."""
        if any(self._left.get(one.id, WHOLE) < work.share or self._shares.bars(work, one) for one in work.held):
            return False
        self._take(work, work.held)
        return True

    def give(self, work: Work) -> tuple[tuple[Device, ...], bool] | None:
        """Take devices for a waiting job; return them, and whether nobody runs there any more.

        None if there are not enough, even if all that gives way had gone.
        """
        found = self._part(work) if work.share < WHOLE else self._whole(work)
        if found is None:
            return None
        free = all(self._is_free(work, device) for device in found)
        self._take(work, found)
        return tuple(found), free

    def costs(self, work: Work) -> int:
        """Return what a job would keep from other tenants; nothing on a device of which the plan gives its own shares."""
        if work.share == WHOLE:
            return work.amount
        nodes, of = self._of(work.labels), self._shares.of(work.tenant_id)
        mine = work.held or [one for one in of if self._left.get(one.id, 0) >= work.share and one.node in nodes]
        return 0 if any(self._shares.planned(work, one) for one in mine) else WHOLE

    def has_parts(self, tenant: Hashable) -> bool:
        """Return whether something is left of a device of which the plan gives a tenant shares."""
        return any(self._left.get(one.id) for one in self._shares.of(tenant))

    def ever_fits(self, work: Work) -> bool:
        """Return whether the class has room for a job when nothing else runs."""
        if work.labels not in self._room:
            sizes = [len(here) for here in self._of(work.labels).values()]
            self._room[work.labels] = max(sizes, default=0), sum(sizes)
        widest, total = self._room[work.labels]
        return work.devices <= (widest if work.one_node else total)

    def _of(self, labels: frozenset[str]) -> dict[Hashable, list[Device]]:
        """Return the devices of the nodes that carry all these labels, by node."""
        if labels not in self._labelled:
            self._labelled[labels] = {node: here for node, here in self._nodes.items() if labels <= self._labels[node]}
        return self._labelled[labels]

    @property
    def vacant(self) -> int:
        """The devices of which the plan has taken nothing."""
        return self._vacant

    def _take(self, work: Work, devices: Iterable[Device]) -> None:
        for device in devices:
            one = device.id
            if work.share == WHOLE or self._shares.plan(work.tenant_id, device):
                self.taken[work.tenant_id] += WHOLE
            if one not in self._left:
                continue
            self._vacant -= self._left[one] == WHOLE
            self._left[one] -= work.share
            self.left -= work.share
            if not work.held:
                self._free[one] -= work.share
            if not self._left[one]:
                self._shares.fill(work.tenant_id, device)

    def _is_free(self, work: Work, device: Device) -> bool:
        """Return whether a job could start on a device now."""
        return self._free[device.id] >= work.share and not self._shares.others_run(work, device)

    def _part(self, work: Work) -> list[Device] | None:
        """Return the device with the least room that is enough: shares are packed, so that whole devices stay free."""
        nodes = self._of(work.labels)
        near = (one for one in self._shares.near(work) if one.node in nodes)
        fitting = [one for one in near if self._left.get(one.id, 0) >= work.share]
        best = min(fitting, key=lambda one: self._rank(work, one), default=None)
        if best is None or not (self._shares.planned(work, best) or self._is_free(work, best)):
            free = (one for one in self._empty() if self._free[one.id] == WHOLE and one.node in nodes)
            vacating = (one for one in self._yielding if self._left[one.id] == WHOLE and one.node in nodes)
            best = next(free, None) or best or next(vacating, None)
        return None if best is None else [best]

    def _rank(self, work: Work, device: Device) -> tuple[bool, bool, int, str]:
        elsewhere = not self._shares.planned(work, device)
        return elsewhere, not self._is_free(work, device), self._left[device.id], str(device.id)

    def _empty(self) -> list[Device]:
        """Return the devices of which the plan has taken nothing, in a fixed order."""
        if self._by_id is None:
            self._by_id = sorted((one for here in self._nodes.values() for one in here), key=lambda one: str(one.id))
        self._by_id = [one for one in self._by_id if self._left[one.id] == WHOLE]
        return self._by_id

    def _whole(self, work: Work) -> list[Device] | None:
        if work.devices > self._vacant:
            return None
        nodes = self._of(work.labels)
        free = {node: [one for one in here if self._free[one.id] == WHOLE] for node, here in nodes.items()}
        vacating = [
            one
            for one in self._yielding
            if self._left[one.id] == WHOLE and self._free[one.id] < WHOLE and one.node in nodes
        ]
        if work.one_node or any(len(here) >= work.devices for here in free.values()):
            return _on_one_node(work.devices, free, vacating)
        chosen = [one for here in free.values() for one in here]
        if len(chosen) >= work.devices:
            return _on_fewest_nodes(work.devices, list(free.values()))
        return (chosen + vacating)[: work.devices] if len(chosen) + len(vacating) >= work.devices else None


def _on_one_node(wanted: int, free: dict[Hashable, list[Device]], vacating: Sequence[Device]) -> list[Device] | None:
    """Return devices of the node where fewest are vacated and, then, fewest stay free; of one link where possible."""
    more: dict[Hashable, list[Device]] = defaultdict(list)
    for device in vacating:
        more[device.node].append(device)
    best: tuple[int, int] | None = None
    found: list[Device] | None = None
    for node, here in free.items():
        rest = len(here) - wanted
        if rest + len(more[node]) < 0:
            continue
        rank = max(-rest, 0), max(rest, 0)
        if best is None or rank < best:
            best, found = rank, _linked(wanted, here)[:wanted]
            found += more[node][: wanted - len(found)]
    return found


def _on_fewest_nodes(wanted: int, free: Sequence[Sequence[Device]]) -> list[Device]:
    """Return devices of several nodes, of which there are enough: of as few nodes as possible.

    Where it costs no further node all are joined by one kind of link, the fastest: a gang is as fast as its slowest. The last
    node is the one where fewest stay free.
    """
    kinds = sorted({_kind(device) for here in free for device in here if device.link})
    alike = [[[one for one in here if _kind(one) == kind] for here in free] for kind in kinds]
    plans = [_most_first(wanted, nodes) for nodes in (*alike, free)]
    return min((plan for plan in plans if plan), key=lambda plan: len({one.node for one in plan}))


def _most_first(wanted: int, nodes: Sequence[Sequence[Device]]) -> list[Device]:
    """Return devices of the nodes that have most, and of the last the rest; nothing if there are too few."""
    found: list[Device] = []
    left = sorted(filter(None, nodes), key=len, reverse=True)
    while left and len(found) < wanted:
        rest = wanted - len(found)
        here = left.pop(0) if len(left[0]) < rest else min((one for one in left if len(one) >= rest), key=len)
        found += _linked(rest, here)[:rest]
    return found if len(found) == wanted else []


def _kind(device: Device) -> str:
    return device.link.partition(" ")[0]


def _linked(wanted: int, here: Sequence[Device]) -> list[Device]:
    """Return devices of one node, those first that should work together.

    First the pool of the fastest link that has room for all, and of several the smallest; without one the largest pools.
    Work on one device takes what gangs miss least: without a link, else of the slowest.
    """
    sizes = Counter(device.link for device in here)
    if wanted == 1:
        smallest = sorted(here, key=lambda device: sizes[device.link])
        return sorted(smallest, key=lambda device: _kind(device) or "~", reverse=True)

    def rank(device: Device) -> tuple[bool, bool, str, int, str]:
        link, size = device.link, sizes[device.link]
        if link and size >= wanted:
            return False, False, _kind(device), size, link
        return True, not link, "", -size, link

    return sorted(here, key=rank)
