"""The rules that a replay compares: walls between tenants, the pool by our policy, and a limit that knows durations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime

from compute.policy import Action, Assign, Device, Preempt, Room, Scope, decide
from compute.policy.history import History
from compute.policy.order import FIRST_BIN_S, service_bin
from compute.simulation.replay import START, Choose, Replayed, Run, pool_of, replay
from compute.simulation.traces import DAY_S, Recorded

BLOCK = 8
"""Quotas come in whole machines."""


def static_quotas(jobs: Sequence[Recorded], load: float, *, days: float = 30) -> dict[str, int]:
    """Return the devices that each tenant would buy for itself so that they are busy `load` of the time.

    In blocks of 8, and at least what its widest job needs.
    """
    work: dict[str, float] = defaultdict(float)
    widest: dict[str, int] = defaultdict(int)
    for job in jobs:
        work[job.tenant] += job.seconds * job.devices
        widest[job.tenant] = max(widest[job.tenant], job.devices)
    return {
        tenant: max(round(seconds / (days * DAY_S * load) / BLOCK) * BLOCK, widest[tenant])
        for tenant, seconds in sorted(work.items())
    }


def static(jobs: Sequence[Recorded], quotas: Mapping[str, int]) -> Replayed:
    """Run each tenant's jobs in their order on its own devices."""
    size = sum(quotas.values())
    pool = pool_of(size)

    def choose(active: list[Run], now: datetime) -> list[Action]:
        left = dict(quotas)
        for run in active:
            left[run.job.tenant] -= run.job.devices if run.work.held else 0
        starts: list[Run] = []
        for run in active:  # in the order of submission; a job without room holds back all behind it
            if not run.work.held:
                left[run.job.tenant] -= run.job.devices
                if left[run.job.tenant] >= 0:
                    starts.append(run)
        return _put(starts, active, pool)

    return replay(jobs, size, choose)


def pooled(jobs: Sequence[Recorded], quotas: Mapping[str, int], devices: int | None = None) -> Replayed:
    """Run all jobs on one pool by the policy of production; each tenant's quota is its guaranteed part."""
    size = sum(quotas.values()) if devices is None else devices
    pool = pool_of(size)
    rooms = {Scope(tenant, "gpu"): Room(guaranteed=part, weight=part) for tenant, part in quotas.items()}
    return replay(jobs, size, shared_by(rooms, pool), next_bin)


def shared_by(rooms: Mapping[Scope, Room], pool: list[Device]) -> Choose:
    """Return the rule of production for tenants with these rooms, which remembers what each held of late."""
    history, before, held = History(), START, dict[Hashable, float]()

    def choose(active: list[Run], now: datetime) -> list[Action]:
        nonlocal before, held
        history.add(held, (now - before).total_seconds())
        before, held = now, defaultdict(float)
        for run in active:
            if run.work.held:
                held[Scope(run.work.tenant_id, "gpu")] += run.work.devices
        known = {scope: replace(room, past=history.of(scope)) for scope, room in rooms.items()}
        return decide([run.work for run in active], pool, known, now)

    return choose


def oracle(jobs: Sequence[Recorded], quotas: Mapping[str, int]) -> Replayed:
    """Run what ends soonest, on one pool: nobody can know that, and nobody can wait less on average."""
    size = sum(quotas.values())
    pool = pool_of(size)

    def choose(active: list[Run], now: datetime) -> list[Action]:
        left, stops, starts = size, list[Action](), list[Run]()
        for run in sorted(active, key=lambda run: (run.left_s * run.job.devices, run.job.at)):
            if run.job.devices <= left:
                left -= run.job.devices
                if not run.work.held:
                    starts.append(run)
            elif run.work.held:
                stops.append(Preempt(run.work, run.work))
        return stops or _put(starts, active, pool)

    return replay(jobs, size, choose)


def _put(starts: list[Run], active: list[Run], pool: list[Device]) -> list[Action]:
    taken = {device.id for run in active for device in run.work.held}
    free = iter([device for device in pool if device.id not in taken])
    return [Assign(run.work, tuple(next(free) for _ in range(run.job.devices)), borrowed=True) for run in starts]


def next_bin(run: Run) -> float:
    """Return after how many seconds a running job has been served so much that others may come before it."""
    edge: float = FIRST_BIN_S * 10 ** service_bin(run.work.attained_s)
    return max((edge - run.work.attained_s) / run.job.devices, 1e-3)
