"""The registry of figures and the rows of their table."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Options:
    """Options of a figure: rounds, an external trace, a folder, variables for child processes, a function for bulk SQL.

    The bulk SQL bypasses row security. `tiny` is a smoke run: its ratios are meaningless. `share` is how much of the
    full size a figure of millions of rows fills.
    """

    rounds: int
    trace: Path | None
    home: Path
    environment: Callable[[str], dict[str, str]]
    superuser: Callable[[str], str]
    tiny: bool = False
    share: float = 1.0

    def size(self, full: int, tiny: int) -> int:
        """Return the size to measure with: `full`, or `tiny` in a smoke run."""
        return tiny if self.tiny else full


@dataclass(frozen=True)
class Row:
    """One ratio, or none without a comparison.

    `measured` and `aim` are relative to `reference` (> 1 is better); `absolute` is for sanity only.
    """

    goal: str
    what: str
    measured: float | None
    aim: float
    reference: str
    absolute: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool:
        """Return whether the aim is reached."""
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
    """Measure every side once per round, in turn; return each side's median (of rates or of seconds)."""
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
