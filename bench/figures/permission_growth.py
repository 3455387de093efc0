"""G-c3: what a page costs in a tenant that grew a hundredfold, among a million jobs."""

from __future__ import annotations

from collections.abc import Iterator

from bench.permission_rows import calls_a_second, filled, shipped_list
from bench.rows import Options, Row, figure, interleaved

CALLS = 60


@figure("G-c3")
def permission_growth(options: Options) -> Iterator[Row]:
    """Measure lists a second in a tenant of 200,000 jobs and in one of 2,000, for the same person."""
    from django.db import connection

    world = filled(options)
    sides = {"200,000 jobs": world.grown, "2,000 jobs": world.begun}
    reads = {name: shipped_list(world.of_many, tenant) for name, tenant in sides.items()}
    for read in reads.values():
        read()
    found = interleaved(options.rounds, {name: calls_a_second(options, read, CALLS) for name, read in reads.items()})
    connection.close()
    absolute = {f"{name} lists/s": value for name, value in found.items()}
    grown, begun = found.values()
    yield Row("G-c3", "a page of 200,000 jobs", grown / begun, 1 / 1.2, "a page of 2,000", absolute)
