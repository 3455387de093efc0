"""G-b1: usage reported in batches over HTTP, checked, rated and summed, against plain DRF without any of it."""

from __future__ import annotations

from collections.abc import Iterator

from bench.plain_usage.sending import cloud_events, plain_events, servers
from bench.rows import Options, Row, figure
from bench.servers import Load, in_turn

BATCH, FEW, OF_MANY = 1_000, 20, 100
CALLERS = 8


@figure("G-b1")
def usage_batches(options: Options) -> Iterator[Row]:
    """Measure batches of 1,000 at the shipped route, single events and lists of 100 at the peer's, at 8 callers each."""
    batch = options.size(BATCH, FEW)
    with servers(options, "Batches", ["deploy.server.web", "--processes", "2"]) as (ours, key, theirs, token, at):
        found = in_turn(
            options,
            {
                "shipped": (ours, [Load(CALLERS, request=cloud_events(batch, key, at))]),
                "plain": (
                    theirs,
                    [
                        Load(CALLERS, request=plain_events(1, token, at)),
                        Load(CALLERS, request=plain_events(OF_MANY, token, at)),
                    ],
                ),
            },
        )
        memory = {"shipped MB": ours.peak_mb(), "plain DRF MB": theirs.peak_mb()}
    batches, single, many = found["shipped", 0], found["plain", 0], found["plain", 1]
    rates = {
        "shipped events/s": batches.rate * batch,
        "plain single": single.rate,
        "plain many=True": many.rate * OF_MANY,
        "shipped p99 ms": 1000 * batches.p99,
        "failed": batches.failed,
        **memory,
    }
    yield Row("G-b1", "batches of 1,000, events/s", batches.rate * batch / single.rate, 100.0, "plain DRF, an event a request", rates)  # fmt: skip
    yield Row("G-b1", "batches of 1,000, events/s", batches.rate * batch / (many.rate * OF_MANY), 20.0, "plain DRF, many=True, 100 a request")  # fmt: skip
