"""Traces of jobs for the figures of scheduling: a published one (`--trace`), or one from a seed."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.rows import Options
from compute.simulation.traces import DAY_S, LONGEST_S, SHORTEST_S, Recorded, read

SEED = 7
NODES, PODS = "openb_node_list_gpu_node.csv", "openb_pod_list_default.csv"
"""Files of Alibaba's cluster-trace-gpu-v2023, with fractions of GPUs."""


def recorded(options: Options) -> tuple[list[Recorded], str]:
    """Return a month of jobs of several tenants, and its source."""
    folder = options.trace
    if folder is not None and not (folder / PODS).exists():
        return read(folder), folder.name
    return generated(options.size(1_200, 40)), f"seed {SEED}"


def generated(each: int) -> list[Recorded]:
    """Return a month of four tenants: long tails, gangs of up to 16, and days on which one submits most of its work."""
    found = []
    for tenant in range(4):
        chance = random.Random(f"{SEED} {tenant}")
        busy = [chance.randrange(30) for _ in range(8)]
        for _ in range(each * (tenant + 1) // 2):
            day = chance.choice(busy) if chance.random() < 0.3 else chance.randrange(30)
            seconds = min(max(chance.lognormvariate(8.5, 2.0), SHORTEST_S), LONGEST_S)
            devices = chance.choices((1, 2, 4, 8, 16), (70, 10, 8, 9, 3))[0]
            found.append(Recorded(f"t{tenant}", day * DAY_S + chance.random() * DAY_S / 2, seconds, devices))
    return sorted(found, key=lambda job: job.at)


@dataclass(frozen=True)
class Pod:
    """What one job asks for: whole devices, or a share of one in thousandths."""

    devices: int
    share: int

    @property
    def amount(self) -> int:
        """In thousandths of a device."""
        return self.devices * self.share


def cluster(options: Options) -> tuple[list[int], list[Pod], str]:
    """Return the devices of each node, the kinds of jobs in their frequency, and the source."""
    folder = options.trace
    if folder is not None and (folder / PODS).exists():
        nodes = [int(row["gpu"]) for row in _rows(folder / NODES)]
        asked = [(int(row["num_gpu"]), int(row["gpu_milli"])) for row in _rows(folder / PODS)]
        return nodes, [Pod(number, share) for number, share in asked if number], folder.name
    chance = random.Random(SEED)
    kinds: Sequence[Pod] = [Pod(1, share) for share in (200, 300, 500, 700, 800)]
    kinds = [*kinds, *(Pod(number, 1000) for number in (1, 2, 4, 8))]
    pods = chance.choices(kinds, (12, 6, 14, 3, 3, 48, 3, 3, 8), k=4000)
    return chance.choices((2, 4, 8), (3, 2, 5), k=600), pods, f"seed {SEED}"


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as lines:
        return list(csv.DictReader(lines))
