"""G-d3: from a committed job to its process, through outbox, controller and Celery, against bare Celery."""

from __future__ import annotations

import statistics
from collections.abc import Iterator

from bench.figures.dispatch.workers import workers
from bench.rows import Options, Row, figure, interleaved

RUNS, FEW_RUNS = 15, 1
AIM = 1 / 1.3


@figure("G-d3")
def to_process(options: Options) -> Iterator[Row]:
    """Measure the median from commit to process started, one job at a time, and from `apply_async` for bare Celery."""
    runs = options.size(RUNS, FEW_RUNS)
    with workers(options) as (product, peers):
        found = interleaved(
            options.rounds,
            {
                "bare": lambda: statistics.median(peers.started() for _ in range(runs)),
                "product": lambda: statistics.median(product.one("started_at") for _ in range(runs)),
            },
        )
    absolute = {"bare p50 ms": 1000 * found["bare"], "product p50 ms": 1000 * found["product"]}
    yield Row(
        "G-d3", "commit to process started", found["bare"] / found["product"], AIM, "bare Celery, prefork", absolute
    )
