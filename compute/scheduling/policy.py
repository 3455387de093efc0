"""Scheduling policy: which job gets a free device.

Pure: no database, the clock is an argument, so that simulations run it too.

Round robin: in each round every tenant that still waits gets one device for its oldest job. Tenants that hold fewer
devices come first, then those whose job waits longest. So one tenant's long queue delays others by at most one job per
device.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True)
class Waiting:
    """One queued job. `not_before` holds a job back after a failed try."""

    job_id: UUID
    tenant_id: UUID
    device_class: str
    queued_at: datetime
    not_before: datetime | None = None


@dataclass(frozen=True)
class Free:
    """One device that can take a job now."""

    device_id: UUID
    node_id: UUID
    device_class: str


@dataclass(frozen=True)
class Assignment:
    """Put this job on this device."""

    job: Waiting
    device: Free


def assign(
    waiting: Iterable[Waiting], free: Iterable[Free], in_use: Mapping[UUID, int], now: datetime
) -> list[Assignment]:
    """Return which waiting job takes which free device. `in_use` counts the devices each tenant holds."""
    devices: dict[str, deque[Free]] = defaultdict(deque)
    for device in free:
        devices[device.device_class].append(device)
    queues: dict[UUID, deque[Waiting]] = defaultdict(deque)
    for job in sorted(waiting, key=lambda job: (job.queued_at, job.job_id)):
        if job.not_before is None or job.not_before <= now:
            queues[job.tenant_id].append(job)
    held = defaultdict(int, in_use)
    assignments: list[Assignment] = []
    while any(devices.values()):
        order = sorted(
            (tenant for tenant in queues if queues[tenant]),
            key=lambda tenant: (held[tenant], queues[tenant][0].queued_at, tenant),
        )
        taken = 0
        for tenant in order:
            chosen = _take(queues[tenant], devices)
            if chosen is not None:
                assignments.append(Assignment(chosen, devices[chosen.device_class].popleft()))
                held[tenant] += 1
                taken += 1
        if not taken:
            break
    return assignments


def _take(queue: deque[Waiting], devices: Mapping[str, deque[Free]]) -> Waiting | None:
    """Remove and return the oldest job whose class has a free device; others do not block it."""
    for job in queue:
        if devices.get(job.device_class):
            queue.remove(job)
            return job
    return None
