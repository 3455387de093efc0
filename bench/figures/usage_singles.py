"""G-b2: single events over HTTP, each answered once it is stored durably, against plain DRF."""

from __future__ import annotations

from collections.abc import Iterator

from bench.plain_usage.sending import cloud_events, plain_events, servers
from bench.rows import Options, Row, figure
from bench.servers import Load, in_turn

CALLERS = 64


@figure("G-b2")
def usage_singles(options: Options) -> Iterator[Row]:
    """Measure one event a request at 64 callers: all checks, rating, sums and audit in the product, an INSERT in the peer."""
    with servers(options, "Singles", ["deploy.server.usage"]) as (ours, key, theirs, token, at):
        found = in_turn(
            options,
            {
                "shipped": (ours, [Load(CALLERS, request=cloud_events(1, key, at))]),
                "plain": (theirs, [Load(CALLERS, request=plain_events(1, token, at))]),
            },
        )
        memory = {"shipped MB": ours.peak_mb(), "plain DRF MB": theirs.peak_mb()}
    one, plain = found["shipped", 0], found["plain", 0]
    rates = {"shipped events/s": one.rate, "plain DRF": plain.rate, "failed": one.failed, **memory}
    waits = {"shipped p99 ms": 1000 * one.p99, "plain DRF": 1000 * plain.p99}
    yield Row("G-b2", f"{CALLERS} callers, one event each, events/s", one.rate / plain.rate, 25.0, "plain DRF", rates)
    yield Row("G-b2", f"{CALLERS} callers, one event each, p99", plain.p99 / one.p99, 10.0, "plain DRF", waits)
