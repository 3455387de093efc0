"""Forecast of run times, learnt from similar runs. Pure: numbers in, a range out; no database, no numpy.

A run is a start-up and work. The work of a run is a multiple of its kind's formula, and the logarithm of that multiple
is learnt; newer and more similar runs weigh more. Nine runs of ten end within the range, by Student's distribution: it
is wide after a few runs, narrow after many consistent ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist

COVERED = 0.9
HALVED_AFTER = 20
"""A run's weight halves with this many later runs."""
OTHERS, OTHERS_BESIDE_SAME, SAME_WORK_RUNS = 0.5, 0.1, 3
"""Weight of a run of other work beside identical work; less from three identical runs on."""
FARTHEST = 0.2
"""Weight of a run of very different size, which still shows the machine's speed."""
LEAST_VARIANCE = 0.03**2
OUTLIER = 1.2
"""A run further from the median than this factor's logarithm counts as if it were this far."""
LEAST_FREEDOM = 4.0
SHORTEST_S = 0.05


@dataclass(frozen=True, slots=True)
class LogEstimate:
    """Estimate of a logarithm: its `mean`, as certain as after `runs` runs, and the `variance` around it.

    `freedom`: the number of runs behind the variance.
    """

    mean: float
    variance: float
    runs: float
    freedom: float

    def learn(self, values: Sequence[tuple[float, float]]) -> LogEstimate:
        """Return the belief after these (value, weight)."""
        weight = sum(share for _, share in values)
        if weight <= 0:
            return self
        middle = _median(values)
        held = [(min(max(value, middle - OUTLIER), middle + OUTLIER), share) for value, share in values]
        mean = sum(value * share for value, share in held) / weight
        spread = sum(share * (value - mean) ** 2 for value, share in held)
        # A formula that is wrong by a factor says little about the spread of runs: it counts once at most.
        moved = min(self.runs * weight / (self.runs + weight) * (mean - self.mean) ** 2, self.variance)
        freedom = self.freedom + weight
        return LogEstimate(
            mean=(self.runs * self.mean + weight * mean) / (self.runs + weight),
            variance=(self.freedom * self.variance + spread + moved) / freedom,
            runs=self.runs + weight,
            freedom=freedom,
        )

    def half_width(self) -> float:
        """Return the distance from the mean that the next value exceeds one time in ten."""
        variance = max(self.variance, LEAST_VARIANCE) * (1 + min(2.0, 1 / self.runs))
        return _student(max(LEAST_FREEDOM, self.freedom)) * math.sqrt(variance)


WORK = LogEstimate(mean=0.0, variance=0.12, runs=0.2, freedom=1.0)
"""Before any run: the formula's constants, measured on another machine with other load."""


def start_up(seconds: float) -> LogEstimate:
    """Return the belief about a start-up, given the seconds measured for its kind."""
    return LogEstimate(mean=math.log(max(SHORTEST_S, seconds)), variance=0.06, runs=0.2, freedom=1.0)


def as_prior(estimate: LogEstimate) -> LogEstimate:
    """Return the weight of other tenants' runs for a tenant with its own: that of two runs."""
    return replace(estimate, runs=min(estimate.runs, 2.0), freedom=min(estimate.freedom, 2.0))


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its work by the kind's formula, and its actual times, start-up included.

    `work_key` identifies exactly the same work.
    """

    work_key: str
    nominal_s: float
    seconds: float
    start_s: float


@dataclass(frozen=True, slots=True)
class Forecast:
    """Seconds of a run, start-up included: nine runs of ten end between `least_s` and `most_s`.

    `runs`: the number learnt from; `source`: whose (`own`, `installation`, or `defaults` without any).
    """

    start_s: float
    least_s: float
    typical_s: float
    most_s: float
    runs: int = 0
    source: str = "defaults"

    def json(self) -> dict[str, float | int | str]:
        """Return the form stored with a job and a quote."""
        return {
            "start_s": round(self.start_s, 3), "least_s": math.floor(self.least_s), "typical_s": round(self.typical_s, 3),
            "most_s": math.ceil(self.most_s), "runs": self.runs, "source": self.source,
        }  # fmt: skip


def forecast(
    nominal_s: float, work: LogEstimate, start: LogEstimate, *, runs: int = 0, source: str = "defaults"
) -> Forecast:
    """Return the range of a run with `nominal_s` of work by the formula."""
    begin, begin_far = math.exp(start.mean), start.half_width()
    middle, middle_far = nominal_s * math.exp(work.mean), work.half_width()
    below = math.hypot(begin * (1 - math.exp(-begin_far)), middle * (1 - math.exp(-middle_far)))
    above = math.hypot(begin * (math.exp(begin_far) - 1), middle * (math.exp(middle_far) - 1))
    typical = begin + middle
    return Forecast(begin, max(0.0, typical - below), typical, typical + above, runs, source)


def learnt(
    runs: Sequence[Run], work: LogEstimate, start: LogEstimate, *, nominal_s: float = 0.0, work_key: str = ""
) -> tuple[LogEstimate, LogEstimate]:
    """Return the beliefs about work and start-up after these runs, newest first, for work of about `nominal_s`.

    Without `nominal_s` all sizes weigh the same.
    """
    same = sum(bool(work_key) and run.work_key == work_key for run in runs)
    others = OTHERS if same < SAME_WORK_RUNS else OTHERS_BESIDE_SAME
    begun = [(math.log(max(SHORTEST_S, run.start_s)), 0.5 ** (age / HALVED_AFTER)) for age, run in enumerate(runs)]
    worked = []
    for age, run in enumerate(runs):
        share = 0.5 ** (age / HALVED_AFTER)
        if not (work_key and run.work_key == work_key):
            distance = abs(math.log(run.nominal_s / nominal_s)) if nominal_s > 0 else 0.0
            share *= (others if work_key else 1.0) * max(FARTHEST, math.exp(-distance))
        worked.append((math.log(max(SHORTEST_S, run.seconds - run.start_s) / run.nominal_s), share))
    return work.learn(worked), start.learn(begun)


def _median(values: Sequence[tuple[float, float]]) -> float:
    ordered = sorted(values)
    half, seen = sum(share for _, share in ordered) / 2, 0.0
    for value, share in ordered:
        seen += share
        if seen >= half:
            return value
    return ordered[-1][0]


def _student(freedom: float) -> float:
    """Return Student's quantile that leaves a tenth outside, on both sides together (Abramowitz and Stegun 26.7.5)."""
    z = NormalDist().inv_cdf(0.5 + COVERED / 2)
    first = (z**3 + z) / (4 * freedom)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
    return z + first + second
