"""G-e5: one decision of the policy over 10,000 queued jobs."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from bench.rows import Options, Row, figure
from compute.policy import Device, Room, Scope, Work, decide, decide_and_explain

AIM_S = 0.05
NOW = datetime(2026, 1, 1, tzinfo=UTC)
TENANTS, DEVICES, RUNNING = 20, 64, 48


@figure("G-e5")
def decision(options: Options) -> Iterator[Row]:
    """Time `decide` and `decide_and_explain`, the best of seven: gangs, borrowed work, guaranteed parts and history."""
    chance = random.Random(7)
    devices = [Device(number, number // 8, "gpu") for number in range(DEVICES)]
    works = [
        Work(
            job_id=number,
            tenant_id=chance.randrange(TENANTS),
            device_class="gpu",
            queued_at=NOW - timedelta(seconds=chance.randrange(9_999)),
            devices=chance.choice((1, 1, 1, 2, 4, 8)),
            project_id=chance.randrange(3),
            held=(devices[number],) if number < RUNNING else (),
            borrowed=number % 2 == 1,
        )
        for number in range(options.size(10_000, 200))
    ]
    rooms = {Scope(tenant, "gpu"): Room(guaranteed=3, past=1.0) for tenant in range(TENANTS)}
    for name, act in (("a decision", decide), ("a decision with reasons", decide_and_explain)):
        took = []
        for _ in range(7):
            begun = time.perf_counter()
            act(works, devices, rooms, NOW)
            took.append(time.perf_counter() - begun)
        best = min(took)
        yield Row("G-e5", name, AIM_S / best, 1.0, "50 ms", {"ms": best * 1000, "jobs": len(works)})
