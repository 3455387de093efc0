"""When each waiting job is expected to start: the queue as it stands, played on by the policy of production."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from compute.policy import WHOLE, Assign, Device, Room, Scope, Work, decide
from compute.simulation.replay import RESTART_S

MOST_DECISIONS, MOST_WORKS = 64, 40_000
"""How often a forecast may decide, and over how many jobs in all: a long queue is looked into less far."""
SHORTEST_S = 1.0


def expected_starts(
    works: Iterable[Work],
    devices: Sequence[Device],
    rooms: Mapping[Scope, Room],
    now: datetime,
    left_s: Mapping[Any, float],
) -> dict[Any, float]:
    """Return after how many seconds each waiting job starts, by its id, if every job runs `left_s` seconds more.

    Nothing is submitted meanwhile, and what gives way is gone at once. A job that the forecast does not come to is left out.
    """
    ahead = [replace(work, held=() if work.stopping else work.held, stopping=False) for work in works]
    left = {work.job_id: max(left_s.get(work.job_id, SHORTEST_S), SHORTEST_S) for work in ahead}
    waiting, passed = {work.job_id for work in ahead if not work.held}, 0.0
    found: dict[Any, float] = {}
    for _ in range(max(2, min(MOST_DECISIONS, MOST_WORKS // max(len(ahead), 1)))):
        actions = decide(ahead, devices, rooms, now + timedelta(seconds=passed))
        for action in actions:
            work = action.work
            if isinstance(action, Assign):
                work.held, work.borrowed = action.devices, action.borrowed
                found.setdefault(work.job_id, passed)
            else:
                work.held = ()
                left[work.job_id] += RESTART_S
        if waiting <= found.keys():
            break
        if any(not isinstance(action, Assign) for action in actions):
            continue  # its devices are free now
        running = [work for work in ahead if work.held]
        if not running:
            break
        step = min(left[work.job_id] for work in running)
        passed += step
        for work in running:
            left[work.job_id] -= step
            work.attained_s += step * work.amount / WHOLE
        ahead = [work for work in ahead if left[work.job_id] > 1e-6]
    return {job_id: seconds for job_id, seconds in found.items() if job_id in waiting}
