"""G-d2: a burst of jobs, none lost and none run twice, against as many tasks of bare Celery that start the same process."""

from __future__ import annotations

from collections.abc import Iterator

from bench.figures.dispatch.workers import workers
from bench.rows import Options, Row, figure, interleaved

JOBS, FEW_JOBS = 100, 2
AIM = 10.0


@figure("G-d2")
def burst(options: Options) -> Iterator[Row]:
    """Measure jobs a second from the first submission to the end of the last process, all submitted one by one."""
    count = options.size(JOBS, FEW_JOBS)
    with workers(options) as (product, peers):
        found = interleaved(
            options.rounds,
            {"product": lambda: count / product.burst(count), "bare": lambda: count / peers.burst(count)},
        )
    absolute = {"product jobs/s": found["product"], "bare Celery jobs/s": found["bare"]}
    yield Row("G-d2", f"burst of {count} jobs", found["product"] / found["bare"], AIM, "bare Celery, prefork", absolute)
