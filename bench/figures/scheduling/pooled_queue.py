"""G-e1: one pool by the policy of production against static quotas, at a load of 0.7."""

from __future__ import annotations

from collections.abc import Iterator

from bench.rows import Options, Row, figure
from bench.traces import recorded
from compute.simulation.report import compare

LOAD = 0.7


@figure("G-e1")
def pooled_queue(options: Options) -> Iterator[Row]:
    """Replay a month: how much sooner jobs start and end, and whether any tenant is worse off."""
    jobs, source = recorded(options)
    found = compare(jobs, LOAD)
    static, pooled, limit = found.static, found.pooled, found.oracle
    against = f"static quotas at load {LOAD}, {source}"
    hours = {"static h": static.mean_queue_s / 3600, "pooled h": pooled.mean_queue_s / 3600, "devices": found.devices}
    yield Row(
        "G-e1", "wait for the first start", static.mean_queue_s / max(pooled.mean_queue_s, 1.0), 12.0, against, hours
    )
    yield Row("G-e1", "completion", static.mean_jct_s / pooled.mean_jct_s, 1.6, against)
    gains = (static.mean_jct_s - pooled.mean_jct_s) / max(static.mean_jct_s - limit.mean_jct_s, 1e-9)
    yield Row("G-e1", "completion gained", gains, 0.95, "the limit that knows durations")
    yield Row("G-e1", "the tenant that gains least", found.worst_tenant_jct_ratio, 1.0, against)
    idle = {"idle while queued %": pooled.idle_while_queued * 100, "stops a job": pooled.stops / found.jobs}
    yield Row("G-e1", "idle while a job waits", 0.002 / max(pooled.idle_while_queued, 1e-6), 1.0, "0.2 % of all", idle)
