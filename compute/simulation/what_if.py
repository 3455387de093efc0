"""What a change of quotas or weights would have done to jobs of the past: two replays by the policy of production."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from compute.policy import Room, Scope
from compute.simulation.replay import Run, pool_of, replay
from compute.simulation.rules import next_bin, shared_by
from compute.simulation.traces import Recorded

MOST_JOBS = 400
"""A replay of more takes seconds: the newest count."""
POINTS = 40

Rooms = Mapping[Scope, Room]


@dataclass(frozen=True, slots=True)
class Waits:
    """How long the jobs of one group waited for their first start, and took to their end, on average, in seconds."""

    jobs: int
    wait_s: float
    completion_s: float


@dataclass(frozen=True, slots=True)
class Change:
    """One group as it was, and as it would have been."""

    group: Any
    before: Waits
    after: Waits


@dataclass(frozen=True, slots=True)
class WhatIf:
    """The groups, those of most jobs first; and of each replay the part of all jobs that had started within so many minutes."""

    changes: Sequence[Change]
    started: Sequence[Sequence[tuple[float, float]]]


def what_if(
    jobs: Sequence[Recorded], devices: Sequence[int], rooms: Sequence[Rooms], group: Callable[[Recorded], Any]
) -> WhatIf:
    """Replay the same jobs twice: on so many devices, under these rooms, before and after.

    A job that needs more devices than there are is left out: it would wait for ever.
    """
    fitting = [job for job in jobs if job.devices <= min(devices)][-MOST_JOBS:]
    if not fitting:
        return WhatIf((), ((), ()))
    found = [
        replay(fitting, size, shared_by(these, pool_of(size)), next_bin).runs
        for size, these in zip(devices, rooms, strict=True)
    ]
    before, after = (_waits(runs, group) for runs in found)
    changes = [Change(one, before[one], after[one]) for one in before]
    changes.sort(key=lambda change: (-change.before.jobs, str(change.group)))
    return WhatIf(changes, [_started(runs) for runs in found])


def _waits(runs: Sequence[Run], group: Callable[[Recorded], Any]) -> dict[Any, Waits]:
    grouped: dict[Any, list[Run]] = defaultdict(list)
    for run in runs:
        grouped[group(run.job)].append(run)
    return {
        one: Waits(
            len(these),
            sum(run.queue_s for run in these) / len(these),
            sum(run.completion_s for run in these) / len(these),
        )
        for one, these in grouped.items()
    }


def _started(runs: Sequence[Run]) -> list[tuple[float, float]]:
    waits = sorted(run.queue_s for run in runs)
    steps = range(POINTS + 1)
    return [(waits[min(at * len(waits) // POINTS, len(waits) - 1)] / 60, at / POINTS) for at in steps]
