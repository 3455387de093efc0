"""Replay a trace: jobs arrive, a rule chooses what runs, jobs end."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from compute.policy import WHOLE, Action, Assign, Device, Work
from compute.simulation.traces import Recorded

RESTART_S = 60.0
"""What a job loses when it gives way: it stops with a checkpoint, starts again and loads it."""
START = datetime(2026, 1, 1, tzinfo=UTC)
NODE = 8
"""Devices of one node."""


@dataclass(slots=True, eq=False)
class Run:
    """One job of the trace in a replay. Times are seconds."""

    job: Recorded
    work: Work
    left_s: float
    started_at: float | None = None
    ended_at: float = math.inf
    stops: int = 0

    @property
    def queue_s(self) -> float:
        """From submission to its first start."""
        return (self.ended_at if self.started_at is None else self.started_at) - self.job.at

    @property
    def completion_s(self) -> float:
        """From submission to its end."""
        return self.ended_at - self.job.at


@dataclass(slots=True)
class Replayed:
    """All jobs of a replay, and device-seconds: there, busy, and idle while somebody waited."""

    runs: list[Run]
    devices: int
    span_s: float = 0.0
    busy_s: float = 0.0
    idle_while_queued_s: float = 0.0


Choose = Callable[[list[Run], datetime], list[Action]]
"""Given the jobs that wait or run, and the time: what to start and what to stop."""
Crossing = Callable[[Run], float]
"""Given a running job: after how many seconds the rule may choose otherwise, though nothing arrived or ended."""


def replay(
    jobs: Sequence[Recorded], devices: int, choose: Choose, crossing: Crossing = lambda run: math.inf
) -> Replayed:
    """Run a trace on so many devices until its last job ends."""
    runs = [Run(job, _work(number, job), job.seconds) for number, job in enumerate(jobs)]
    replayed = Replayed(runs, devices)
    arriving, active, now = iter(runs), list[Run](), 0.0
    coming = next(arriving, None)
    while coming is not None or active:
        until = min(
            coming.job.at if coming else math.inf,
            min((now + min(run.left_s, crossing(run)) for run in active if run.work.held), default=math.inf),
        )
        _pass(replayed, active, until - now)
        now = until
        for run in active:
            if run.work.held and run.left_s <= 1e-6:
                run.ended_at, run.work.held = now, ()
        active = [run for run in active if run.ended_at == math.inf]
        while coming is not None and coming.job.at <= now:
            active.append(coming)
            coming = next(arriving, None)
        while actions := choose(active, START + timedelta(seconds=now)):
            _apply(actions, {run.work: run for run in active}, now)
    replayed.span_s = now
    return replayed


def pool_of(devices: int) -> list[Device]:
    """Return so many devices, in nodes of eight."""
    return [Device(number, number // NODE, "gpu") for number in range(devices)]


def _work(number: int, job: Recorded) -> Work:
    return Work(
        job_id=number,
        tenant_id=job.tenant,
        device_class="gpu",
        queued_at=START + timedelta(seconds=job.at),
        devices=job.devices,
        share=job.share,
        project_id=job.project,
        set_id=job.set_id,
        at_once=job.at_once,
    )


def _pass(replayed: Replayed, active: list[Run], seconds: float) -> None:
    busy = waiting = 0.0
    for run in active:
        if run.work.held:
            run.left_s -= seconds
            run.work.attained_s += seconds * run.work.amount / WHOLE
            busy += run.work.amount / WHOLE
        else:
            waiting += run.work.amount / WHOLE
    replayed.busy_s += busy * seconds
    replayed.idle_while_queued_s += min(replayed.devices - busy, waiting) * seconds


def _apply(actions: list[Action], runs: dict[Work, Run], now: float) -> None:
    for action in actions:
        run = runs[action.work]
        if isinstance(action, Assign):
            run.work.held, run.work.borrowed = action.devices, action.borrowed
            run.started_at = now if run.started_at is None else run.started_at
        else:
            run.work.held = ()
            run.left_s += RESTART_S
            run.stops += 1
