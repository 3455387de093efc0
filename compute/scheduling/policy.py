"""Scheduling policy: which job gets a free device.

Pure: no database, the clock is an argument, so that simulations run it too.

Round robin: in each round every tenant that still waits gets one device for its oldest job that has room in every limit
that binds it. Tenants below their guaranteed part come first, then those that hold fewer devices for their weight, then
those whose job waits longest. So one tenant's long queue delays others by at most one job per device, and a full limit
delays only the jobs that it binds.

Inside a tenant, a job of a project below its guaranteed part comes before older ones of others; where a project has a
weight, projects that hold fewer devices for their weight come first.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from fractions import Fraction
from uuid import UUID


@dataclass(frozen=True)
class Waiting:
    """One queued job. `not_before` holds a job back after a failed try; limits bind by its project and person."""

    job_id: UUID
    tenant_id: UUID
    device_class: str
    queued_at: datetime
    not_before: datetime | None = None
    project_id: UUID | None = None
    person: UUID | None = None


@dataclass(frozen=True)
class Free:
    """One device that can take a job now."""

    device_id: UUID
    node_id: UUID
    device_class: str


@dataclass(frozen=True)
class Scope:
    """What a limit on a class of devices binds: a tenant (both empty), one of its projects, or one of its people."""

    tenant_id: UUID
    device_class: str
    project_id: UUID | None = None
    person: UUID | None = None


@dataclass(frozen=True)
class Room:
    """The devices that a scope holds now, at most so many (None: no limit), its guaranteed part and its weight."""

    in_use: int = 0
    limit: int | None = None
    guaranteed: int = 0
    weight: int = 1


@dataclass(frozen=True)
class Assignment:
    """Put this job on this device."""

    job: Waiting
    device: Free


@dataclass
class _State:
    """What is still free, waits and is held while choices are made."""

    rooms: Mapping[Scope, Room]
    devices: dict[str, deque[Free]]
    queues: dict[UUID, deque[Waiting]]
    held: dict[UUID, int]
    used: dict[Scope, int] = field(default_factory=dict)
    weighted: frozenset[UUID] = frozenset()
    shared: frozenset[UUID] = frozenset()


def assign(
    waiting: Iterable[Waiting],
    free: Iterable[Free],
    in_use: Mapping[UUID, int],
    now: datetime,
    rooms: Mapping[Scope, Room] | None = None,
) -> list[Assignment]:
    """Return which waiting job takes which free device.

    `in_use` counts the devices that each tenant holds, `rooms` has the limits; no choice passes one.
    """
    state = _begin(waiting, free, in_use, now, rooms or {})
    assignments: list[Assignment] = []
    while any(state.devices.values()):
        candidates = {tenant: _candidate(state, tenant) for tenant in state.queues}
        order = sorted((job for job in candidates.values() if job is not None), key=lambda job: _rank(state, job))
        for tenant in [job.tenant_id for job in order]:
            chosen = _candidate(state, tenant)
            if chosen is not None:
                assignments.append(Assignment(chosen, state.devices[chosen.device_class].popleft()))
                _take(state, chosen)
        if not order:
            break
    return assignments


def scopes_of(job: Waiting) -> list[Scope]:
    """Return the scopes whose limits bind a job."""
    here = job.tenant_id, job.device_class
    found = [Scope(*here)]
    if job.project_id is not None:
        found.append(Scope(*here, project_id=job.project_id))
    if job.person is not None:
        found.append(Scope(*here, person=job.person))
    return found


def _begin(
    waiting: Iterable[Waiting],
    free: Iterable[Free],
    in_use: Mapping[UUID, int],
    now: datetime,
    rooms: Mapping[Scope, Room],
) -> _State:
    devices: dict[str, deque[Free]] = defaultdict(deque)
    for device in free:
        devices[device.device_class].append(device)
    queues: dict[UUID, deque[Waiting]] = defaultdict(deque)
    for job in sorted(waiting, key=lambda job: (job.queued_at, job.job_id)):
        if job.not_before is None or job.not_before <= now:
            queues[job.tenant_id].append(job)
    used = {scope: room.in_use for scope, room in rooms.items()}
    projects = [(scope.tenant_id, room) for scope, room in rooms.items() if scope.project_id]
    weighted = frozenset(tenant for tenant, room in projects if room.weight != 1)
    guaranteed = frozenset(tenant for tenant, room in projects if room.guaranteed)
    return _State(rooms, devices, queues, defaultdict(int, in_use), used, weighted, weighted | guaranteed)


def _candidate(state: _State, tenant: UUID) -> Waiting | None:
    """Return the tenant's next job that has a free device and room; others do not block it."""
    fitting = (job for job in state.queues[tenant] if state.devices.get(job.device_class) and _fits(state, job))
    if tenant not in state.shared:
        return next(fitting, None)
    return min(fitting, key=lambda job: _place(state, job), default=None)


def _fits(state: _State, job: Waiting) -> bool:
    for scope in scopes_of(job):
        room = state.rooms.get(scope)
        if room is not None and room.limit is not None and state.used[scope] >= room.limit:
            return False
    return True


def _rank(state: _State, job: Waiting) -> tuple[bool, Fraction, datetime, UUID]:
    """Return the place of a tenant with this candidate among the tenants, smallest first."""
    scope = Scope(job.tenant_id, job.device_class)
    room = state.rooms.get(scope, Room())
    beyond = state.used.get(scope, 0) >= room.guaranteed
    return beyond, Fraction(state.held[job.tenant_id], room.weight), job.queued_at, job.tenant_id


def _place(state: _State, job: Waiting) -> tuple[bool, Fraction, datetime, UUID]:
    """Return the place of a job among its tenant's, smallest first: the oldest, unless projects have shares."""
    scope = Scope(job.tenant_id, job.device_class, project_id=job.project_id)
    room, used = state.rooms.get(scope, Room()), state.used.get(scope, 0)
    share = Fraction(used, room.weight) if job.tenant_id in state.weighted else Fraction(0)
    return used >= room.guaranteed, share, job.queued_at, job.job_id


def _take(state: _State, job: Waiting) -> None:
    state.queues[job.tenant_id].remove(job)
    state.held[job.tenant_id] += 1
    for scope in scopes_of(job):
        if scope in state.used:
            state.used[scope] += 1
