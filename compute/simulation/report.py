"""The figures of a replay, and how three of them compare."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from compute.simulation.replay import Replayed, Run
from compute.simulation.rules import oracle, pooled, static, static_quotas
from compute.simulation.traces import Recorded


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over all jobs, in seconds: from submission to the first start, and to the end.

    `utilisation` is the busy part of all device-seconds, `idle_while_queued` the part that was free while a job waited.
    """

    mean_queue_s: float
    mean_jct_s: float
    utilisation: float
    idle_while_queued: float
    stops: int


@dataclass(frozen=True, slots=True)
class Comparison:
    """Static quotas, the pool and the limit beside each other.

    `worst_tenant_jct_ratio`: by how much the mean completion of the tenant that gains least is shorter in the pool than
    behind its own wall; from 1 on nobody is worse off.
    """

    jobs: int
    devices: int
    static: Figures
    pooled: Figures
    oracle: Figures
    worst_tenant_jct_ratio: float

    def json(self) -> dict[str, Any]:
        """Return the comparison as JSON has it."""
        return asdict(self)


def compare(jobs: Sequence[Recorded], load: float, *, devices: int | None = None) -> Comparison:
    """Replay a trace by three rules at a load of the static quotas; `devices` of the pool, by default all quotas'."""
    quotas = static_quotas(jobs, load)
    walls, pool = static(jobs, quotas), pooled(jobs, quotas, devices)
    before, after = _by_tenant(walls.runs), _by_tenant(pool.runs)
    return Comparison(
        jobs=len(jobs),
        devices=pool.devices,
        static=figures(walls),
        pooled=figures(pool),
        oracle=figures(oracle(jobs, quotas)),
        worst_tenant_jct_ratio=min(before[tenant] / after[tenant] for tenant in after),
    )


def figures(replayed: Replayed) -> Figures:
    """Return the figures of one replay."""
    number, there = len(replayed.runs), replayed.devices * replayed.span_s
    return Figures(
        mean_queue_s=sum(run.queue_s for run in replayed.runs) / number,
        mean_jct_s=sum(run.completion_s for run in replayed.runs) / number,
        utilisation=replayed.busy_s / there,
        idle_while_queued=replayed.idle_while_queued_s / there,
        stops=sum(run.stops for run in replayed.runs),
    )


def _by_tenant(runs: Iterable[Run]) -> dict[str, float]:
    sums: dict[str, float] = defaultdict(float)
    for run in runs:
        sums[run.job.tenant] += run.completion_s
    return sums
