"""G-e2: the same service with fewer devices than static quotas need."""

from __future__ import annotations

from collections.abc import Iterator

from bench.rows import Options, Row, figure
from bench.traces import recorded
from compute.simulation.report import compare

#: At this load, the pool has this part of the devices.
PARTS = ((0.7, 0.85), (0.3, 0.70))


@figure("G-e2")
def fewer_devices(options: Options) -> Iterator[Row]:
    """Replay a month on a smaller pool; its jobs still end no later than behind walls."""
    jobs, source = recorded(options)
    for load, part in PARTS:
        whole = compare(jobs, load)
        widest = max(job.devices for job in jobs)
        fewer = max(int(whole.devices * part), widest)
        found = compare(jobs, load, devices=fewer)
        seconds = {"static s": found.static.mean_jct_s, "pooled s": found.pooled.mean_jct_s, "devices": fewer}
        what, against = f"completion with {1 - part:.0%} fewer devices", f"static quotas at load {load}, {source}"
        yield Row("G-e2", what, found.static.mean_jct_s / found.pooled.mean_jct_s, 1.0, against, seconds)
