"""G-d1: from a committed job to the node that has claimed it, against a task's first line and a raw BRPOP."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator

from bench.figures.dispatch.workers import workers
from bench.rows import Options, Row, figure

RUNS, FEW_RUNS = 40, 2
#: A third of Celery's time, and four times that of a BRPOP.
AIM, AIM_RAW = 3.0, 0.25


@figure("G-d1")
def to_node(options: Options) -> Iterator[Row]:
    """Measure median and 99th percentile over all rounds, one job or message at a time."""
    runs = options.size(RUNS, FEW_RUNS)
    waits: dict[str, list[float]] = {"product": [], "Celery": [], "BRPOP": []}
    with workers(options) as (product, peers):
        sides: dict[str, Callable[[], float]] = {
            "product": lambda: product.one("claimed_at"),
            "Celery": peers.received,
            "BRPOP": peers.popped,
        }
        for _ in range(options.rounds):
            for name, one in sides.items():
                waits[name] += [one() for _ in range(runs)]
    for name, of in (("p50", statistics.median), ("p99", _p99)):
        found = {side: of(values) for side, values in waits.items()}
        absolute = {f"{side} {name} us": 1e6 * value for side, value in found.items()}
        what = f"commit to claimed by its node, {name}"
        yield Row("G-d1", what, found["Celery"] / found["product"], AIM, "a task's first line, bare Celery", absolute)
        yield Row("G-d1", what, found["BRPOP"] / found["product"], AIM_RAW, "BRPOP of a plain list")


def _p99(values: list[float]) -> float:
    return sorted(values)[int(0.99 * (len(values) - 1))]
