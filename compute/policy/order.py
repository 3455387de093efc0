"""In which order the jobs of a tenant come to devices, and tenants among each other.

Within a tenant the job with the least attained service comes first, which needs no knowledge of durations (Tiresias,
NSDI'19): device-seconds are counted in bins that grow tenfold, so that jobs do not take turns for little.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from billing.rating.quantity import WHOLE
from compute.policy.work import Room, Scope, Work

FIRST_BIN_S = 3600.0
"""Device-seconds of the first bin: so much a job runs before a newer one may come before it."""

Place = tuple[int, int, datetime, Any]
Placed = tuple[Place, Work]
"""A job with its place, which is computed once a round."""
NO_ROOM = Room()
WHOLE_POOL = Scope(None, "")


def service_bin(attained_s: float) -> int:
    """Return the bin of so many device-seconds: 0 below an hour, then one more for each tenfold."""
    return 0 if attained_s < FIRST_BIN_S else 1 + int(math.log10(attained_s / FIRST_BIN_S))


def place(work: Work) -> Place:
    """Return the place of a job within its queue, smallest first: priority, least served, oldest."""
    return -work.priority, service_bin(work.attained_s), work.queued_at, work.job_id


def scopes_of(work: Work) -> list[Scope]:
    """Return the scopes whose limits bind a job."""
    found = [Scope(work.tenant_id, work.device_class)]
    if work.project_id is not None:
        found.append(Scope(work.tenant_id, work.device_class, project_id=work.project_id))
    if work.person is not None:
        found.append(Scope(work.tenant_id, work.device_class, person=work.person))
    return found


def share(amount: int, room: Room) -> float:
    """Return the devices that a scope holds, of `amount` thousandths, and held of late, for its weight."""
    return (amount / WHOLE + room.past) / max(room.weight, 1)


class AtOnce:
    """How many jobs of each set run, or start in this round, over all classes of devices."""

    def __init__(self, works: Iterable[Work]) -> None:
        self._jobs = Counter(work.set_id for work in works if work.held and work.at_once is not None)

    def full(self, work: Work) -> bool:
        """Return whether the set of a waiting job lets no more of its jobs run."""
        return work.at_once is not None and self._jobs[work.set_id] >= work.at_once

    def start(self, work: Work) -> None:
        """Count a job that starts."""
        if work.at_once is not None:
            self._jobs[work.set_id] += 1


class Queue:
    """One tenant's jobs in the order in which they come to devices.

    Where projects have a guaranteed part or a weight, those below their part come first, then those that hold least for
    their weight; else the whole tenant is one queue.
    """

    def __init__(self, works: Sequence[Placed], rooms: Mapping[Scope, Room], held: Mapping[Scope, int]) -> None:
        """`works` are in their order, of one class of devices and not empty."""
        self._rooms, self._held = rooms, held
        by_project: dict[Hashable | None, list[Placed]] = defaultdict(list)
        for placed in works:
            by_project[placed[1].project_id].append(placed)
        of = works[0][1]
        grouped: dict[Scope, Sequence[Placed]] = {
            Scope(of.tenant_id, of.device_class, project_id=project): these for project, these in by_project.items()
        }
        shared = [rooms[scope] for scope in grouped if scope in rooms]
        self._weighted = any(room.weight != 1 for room in shared)
        if not self._weighted and not any(room.guaranteed for room in shared):
            grouped = {WHOLE_POOL: works}
        self._rest: dict[Scope, Iterator[Placed]] = {}
        self._next: dict[Scope, Placed] = {}
        for scope, these in grouped.items():
            self._rest[scope] = iter(these)
            self._advance(scope)

    def __bool__(self) -> bool:
        return bool(self._next)

    @property
    def head(self) -> tuple[datetime, Any]:
        """When the oldest of those who may come next began to wait, and which it is."""
        return min((work.queued_at, work.job_id) for _, work in self._next.values())

    def pop(self) -> Work:
        """Take the first job out and return it."""
        scope = next(iter(self._next)) if len(self._next) == 1 else min(self._next, key=self._rank)
        found = self._next[scope][1]
        self._advance(scope)
        return found

    def _advance(self, scope: Scope) -> None:
        following = next(self._rest[scope], None)
        if following is None:
            self._next.pop(scope, None)
        else:
            self._next[scope] = following

    def _rank(self, scope: Scope) -> tuple[bool, float, Place]:
        room, held = self._rooms.get(scope, NO_ROOM), self._held.get(scope, 0)
        beyond = held >= (room.guaranteed or 0) * WHOLE
        return beyond, share(held, room) if self._weighted else 0.0, self._next[scope][0]


def by_tenant(works: Iterable[Placed]) -> dict[Hashable, list[Placed]]:
    """Return the jobs of each tenant, in the given order."""
    grouped: dict[Hashable, list[Placed]] = defaultdict(list)
    for placed in works:
        grouped[placed[1].tenant_id].append(placed)
    return grouped
