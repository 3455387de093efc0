"""The registry of figures and the rows of the table that they yield."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """What a figure may use: how often to measure, an outside trace, a folder, variables for child processes,
    and a way to run statements that fill tables past every lock. `tiny` is a smoke run: its ratios mean nothing."""

    rounds: int
    trace: Path | None
    home: Path
    environment: Callable[[str], dict[str, str]]
    superuser: Callable[[str], str]
    tiny: bool = False

    def size(self, full: int, tiny: int) -> int:
        """Return how much of something to measure with: the full amount, or in a smoke run hardly any."""
        return tiny if self.tiny else full


@dataclass(frozen=True)
class Row:
    """One ratio, or none when there was nothing to compare with. `measured` and `aim` compare with `reference`
    (> 1 is better); `absolute` is for sanity only."""

    goal: str
    what: str
    measured: float | None
    aim: float
    reference: str
    absolute: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Whether the aim is reached."""
        return self.measured is not None and self.measured >= self.aim


Figure = Callable[[Options], Iterable[Row]]
FIGURES: dict[str, Figure] = {}


def figure(goal: str) -> Callable[[Figure], Figure]:
    """Register the function that measures `goal`; one module of `bench` holds one figure."""

    def register(function: Figure) -> Figure:
        if goal in FIGURES:
            raise ValueError(f"{goal} is measured twice")
        FIGURES[goal] = function
        return function

    return register


def interleaved(rounds: int, sides: dict[str, Callable[[], float]]) -> dict[str, float]:
    """Measure every side once a round, in turn; return each side's median (of rates or of seconds)."""
    seen: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, measure in sides.items():
            seen[name].append(measure())
    return {name: statistics.median(values) for name, values in seen.items()}


def rate(count: int, work: Callable[[], object]) -> float:
    """Run `work` once and return `count` per second."""
    begun = time.perf_counter()
    work()
    return count / (time.perf_counter() - begun)
