"""Decide a round: who starts where, and who gives way.

In each class of devices:

1. On-demand work that started within its tenant's guaranteed part stays; it never gives way.
2. Each tenant gets its guaranteed part, if it has work for it: what others borrowed of it is reclaimed.
3. The rest is lent: to the tenant that borrows, and has borrowed of late, least for its weight. Lent devices go on to
   work that comes before, so that no job waits behind one that was served tenfold.

A device of which a tenant has shares counts for it as a whole one here: nobody else gets the rest.

Inside a tenant see `order.Queue`. A job for which there is no room keeps its place: what starts past it is borrowed, so
it never waits longer for that than a job takes to stop. A full limit, and a job set of which as many run as may at once,
hold back those they bind alone.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import heapify, heappop, heapreplace
from operator import itemgetter
from typing import NamedTuple

from billing.rating.quantity import WHOLE
from compute.policy.order import NO_ROOM, AtOnce, Placed, Queue, by_tenant, place, scopes_of, share
from compute.policy.pool import Pool
from compute.policy.work import Action, Assign, Device, Preempt, Reclaim, Room, Scope, Wait, Why, Work


def decide(
    works: Iterable[Work], devices: Iterable[Device], rooms: Mapping[Scope, Room], now: datetime
) -> list[Action]:
    """Return what to start and what to stop now.

    `works` are all jobs that wait or run, `devices` all that are ready. A job whose devices are still being vacated is
    in no answer: it comes to them again in the next round.
    """
    return [action for one in _rounds(works, devices, rooms, now) for action in one.plan()]


def decide_and_explain(
    works: Iterable[Work], devices: Iterable[Device], rooms: Mapping[Scope, Room], now: datetime
) -> tuple[list[Action], list[Wait]]:
    """Return what to start and what to stop now, and why each other waiting job waits."""
    actions: list[Action] = []
    waits: list[Wait] = []
    for one in _rounds(works, devices, rooms, now):
        actions += one.plan()
        waits += one.waits()
    return actions, waits


def _rounds(
    works: Iterable[Work], devices: Iterable[Device], rooms: Mapping[Scope, Room], now: datetime
) -> list[_Round]:
    grouped: dict[str, tuple[list[Work], list[Device]]] = defaultdict(lambda: ([], []))
    works = list(works)
    for work in works:
        grouped[work.device_class][0].append(work)
    for device in devices:
        grouped[device.device_class][1].append(device)
    limits = _Limits(rooms, AtOnce(works))
    return [_Round(name, *grouped[name], limits, now) for name in sorted(grouped)]


class _Limits(NamedTuple):
    """What holds work back in all classes of devices."""

    rooms: Mapping[Scope, Room]
    sets: AtOnce


class _Round:
    """The plan of one class of devices. Amounts are thousandths of a device."""

    def __init__(self, name: str, works: list[Work], devices: list[Device], limits: _Limits, now: datetime) -> None:
        self._name, self._now = name, now
        self._rooms, self._sets = limits
        running = [work for work in works if work.held]
        self._staying = [work for work in running if not work.stopping and not work.yields]
        self._yielding = [work for work in running if not work.stopping and work.yields]
        waiting = [work for work in works if not work.held and (work.not_before is None or work.not_before <= now)]
        self._tenants = {tenant: Scope(tenant, name) for tenant in {work.tenant_id for work in works}}
        self._pool = Pool(devices, running, self._victims(running))
        asking = {work for work in waiting if self._pool.ever_fits(work)}.union(self._yielding)
        self._in_order = sorted(((place(work), work) for work in works), key=itemgetter(0))
        self._asking = [placed for placed in self._in_order if placed[1] in asking]
        self._held: dict[Scope, int] = defaultdict(int)
        self._limited = any(room.limit is not None for room in self._rooms.values())
        self._parts = self._guaranteed({work.tenant_id for work in [*running, *asking]})
        self._blocked: set[Hashable] = set()
        self._placed: list[tuple[Work, Seat]] = []
        self._takers: dict[Hashable, tuple[Work, bool]] = {}
        self._kept: set[Work] = set()
        self._passed: dict[Work, Work] = {}
        self._firm = 0

    def plan(self) -> list[Action]:
        """Return the actions of the round."""
        for work in self._staying:
            self._pool.keep(work)
            self._count(work)
        self._firm = sum(self._pool.taken.values())
        self._in_turns((one for one in self._asking if not one[1].spot), self._part_used, self._guarantee)
        seated = {work for work, _ in self._placed} | self._kept
        self._in_turns((one for one in self._asking if one[1] not in seated), self._lent, self._lend)
        return [*self._stops(), *self._starts()]

    def _victims(self, running: list[Work]) -> list[Work]:
        """Return what stops anyhow, then what gives way: spot first, then of tenants that hold most, then served most."""
        stopping = [work for work in running if work.stopping]
        holds: dict[Hashable, int] = defaultdict(int)
        for work in running:
            holds[work.tenant_id] += work.amount
        rank = {tenant: share(held, self._room(tenant)) for tenant, held in holds.items()}
        order = sorted(self._yielding, key=lambda work: (work.spot, rank[work.tenant_id], place(work)), reverse=True)
        return [*stopping, *order]

    def _guaranteed(self, tenants: set[Hashable]) -> dict[Hashable, int]:
        """Return the guaranteed part of each tenant that wants devices: what is set, else its part by weight, rounded up.

        What is set for others is not theirs, even while it is idle: it is lent.
        """
        parts = {tenant: self._room(tenant).guaranteed for tenant in tenants}
        set_by_hand = (
            room.guaranteed or 0 for scope, room in self._rooms.items() if scope == Scope(scope.tenant_id, self._name)
        )
        left = max(self._pool.size - sum(set_by_hand), 0)
        weights = {tenant: self._room(tenant).weight for tenant, part in parts.items() if part is None}
        whole = sum(weights.values())
        return {
            tenant: WHOLE * (-(-left * weights[tenant] // whole) if part is None else part)
            for tenant, part in parts.items()
        }

    def _in_turns(
        self,
        works: Iterable[Placed],
        key: Callable[[Hashable], float],
        seat: Callable[[Work], bool],
    ) -> None:
        """Offer devices to the tenants' jobs, in their order, always to the tenant with the smallest key, then to the older job.

        `seat` returns whether its tenant may get more.
        """
        queues = {tenant: Queue(these, self._rooms, self._held) for tenant, these in by_tenant(works).items()}
        turns = [(key(tenant), *queue.head, tenant) for tenant, queue in queues.items()]
        heapify(turns)
        while turns and self._pool.left:
            tenant = turns[0][-1]
            more = seat(queues[tenant].pop())
            if more and queues[tenant]:
                heapreplace(turns, (key(tenant), *queues[tenant].head, tenant))
            else:
                heappop(turns)

    def _guarantee(self, work: Work) -> bool:
        """Seat a job within its tenant's guaranteed part; if it does not fit there, others pass it as borrowed work."""
        taken, part = self._pool.taken[work.tenant_id], self._parts[work.tenant_id]
        if taken + self._pool.costs(work) <= part:
            self._seat(work, within=True)
        elif not work.held and self._fits(work):
            self._blocked.add(work.tenant_id)
        return taken < part or self._pool.has_parts(work.tenant_id)

    def _lend(self, work: Work) -> bool:
        """Seat a job on what is left."""
        self._seat(work, within=False)
        return True

    def _seat(self, work: Work, *, within: bool) -> None:
        if work.held:
            first = self._fills_its_limit(work)
            if first is not None:
                self._passed[work] = first
            elif self._pool.keep(work):
                self._kept.add(work)
                self._count(work)
            return
        if not self._fits(work):
            return
        found = self._pool.give(work)
        if found is None:
            self._blocked.add(work.tenant_id)
            return
        places, free = found
        self._placed.append((work, Seat(places, free, not within or work.tenant_id in self._blocked)))
        self._takers.update(dict.fromkeys((device.id for device in places), (work, within)))
        self._sets.start(work)
        self._count(work)

    def _fits(self, work: Work) -> bool:
        return not self._sets.full(work) and self._full(work) is None

    def _full(self, work: Work) -> Scope | None:
        """Return the scope whose limit holds a job back."""
        if not self._limited:
            return None
        for scope in scopes_of(work):
            room = self._rooms.get(scope)
            if room is not None and room.limit is not None and self._held[scope] + work.amount > room.limit * WHOLE:
                return scope
        return None

    def _fills_its_limit(self, work: Work) -> Work | None:
        """Return a job that starts, comes before this running one, and leaves it no room within a limit of both."""
        scope = self._full(work)
        starting = (first for first, seat in self._placed if seat.free)
        return next((first for first in starting if scope in scopes_of(first)), None) if scope else None

    def _count(self, work: Work) -> None:
        for scope in scopes_of(work):
            self._held[scope] += work.amount

    def _part_used(self, tenant: Hashable) -> float:
        return self._pool.taken[tenant] / max(self._parts[tenant], 1)

    def _lent(self, tenant: Hashable) -> float:
        part, room = self._parts[tenant], self._room(tenant)
        beyond = max(self._pool.taken[tenant] - part, 0) + max(room.past * WHOLE - part, 0)
        return beyond / WHOLE / max(room.weight, 1)

    def _room(self, tenant: Hashable) -> Room:
        return self._rooms.get(self._tenants[tenant], NO_ROOM)

    def _stops(self) -> list[Action]:
        found: list[Action] = []
        for work in self._yielding:
            takers = [self._takers[device.id] for device in work.held if device.id in self._takers]
            if work not in self._kept and takers:
                taker, within = takers[0]
                reclaimed = within and not work.spot and taker.tenant_id != work.tenant_id
                found.append(Reclaim(work, taker) if reclaimed else Preempt(work, taker))
            elif work in self._passed:
                found.append(Preempt(work, self._passed[work]))
        return found

    def waits(self) -> list[Wait]:
        """Return why each job waits that the plan does not start; call it after `plan`."""
        seats = {work: seat.free for work, seat in self._placed}
        fitting = {work for _, work in self._asking}
        waiting = [work for _, work in self._in_order if not work.held and not seats.get(work)]
        firmly = self._firm >= self._pool.size * WHOLE
        places: dict[Hashable, int] = defaultdict(int)
        found: list[Wait] = []
        for work in waiting:
            places[work.tenant_id] += 1
            full = self._full(work)
            if work.not_before is not None and work.not_before > self._now:
                why = Why.BACK_OFF
            elif work not in fitting:
                why = Why.LABELS if self._pool.ever_fits(replace(work, labels=frozenset())) else Why.TOO_BIG
            elif work in seats:
                why = Why.VACATING
            elif self._sets.full(work):
                why = Why.AT_ONCE
            elif full is not None:
                why = Why.LIMIT
            elif firmly:
                why = Why.GUARANTEED
            elif work.labels and self._pool.left >= work.amount:
                why = Why.LABELS
            else:
                why = Why.SCATTERED if work.one_node and self._pool.vacant >= work.devices else Why.TURN
            found.append(Wait(work, why, places[work.tenant_id], full if why == Why.LIMIT else None))
        return found

    def _starts(self) -> list[Action]:
        return [Assign(work, seat.devices, seat.borrowed) for work, seat in self._placed if seat.free]


@dataclass(frozen=True, slots=True)
class Seat:
    """Where a job is to run, whether it can now, and whether it will give way."""

    devices: tuple[Device, ...]
    free: bool
    borrowed: bool
