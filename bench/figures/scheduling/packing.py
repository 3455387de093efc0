"""G-e4: devices that stay unallocated when shares and gangs fill a cluster: ours beside FGD, best fit and first fit.

Only devices are packed: a node's processors and memory are not asked about. FGD is Weng et al., USENIX ATC 2023: place
where the fragmentation, for the mix of jobs that is known, grows least.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import lru_cache

from bench.rows import Options, Row, figure
from bench.traces import Pod, cluster
from compute.policy import WHOLE, Device, Work
from compute.policy.pool import Pool

ARRIVING = 1.3
"""So much of the cluster's capacity is asked for in all."""
MOST_NODES = 160
SAMPLES = 3
NOTHING = 1e-4
NOW = datetime(2026, 1, 1, tzinfo=UTC)
State = tuple[int, ...]
"""What is left of each device of a node, in thousandths, sorted."""
Score = Callable[[State, State, Pod], float]


@figure("G-e4")
def packing(options: Options) -> Iterator[Row]:
    """Let jobs arrive at random from the trace's mix until more than all is asked for; compare what stays unallocated."""
    nodes, pods, source = cluster(options)
    chance = random.Random(7)
    sums: Counter[str] = Counter()
    for _ in range(options.size(SAMPLES, 1)):
        here = chance.sample(nodes, min(len(nodes), options.size(MOST_NODES, 8)))
        asked = _arrivals(pods, sum(here), chance)
        mix = Counter(pods)
        sums["ours"] += _ours(here, asked)
        sums["FGD"] += _placed(here, asked, _fragmentation(mix))
        sums["best fit"] += _placed(here, asked, lambda before, after, pod: sum(after))
        sums["first fit"] += _placed(here, asked, lambda before, after, pod: 0.0)
        sums["capacity"] += sum(here) * WHOLE
    unallocated = {name: 1 - sums[name] / sums["capacity"] for name in ("ours", "FGD", "best fit", "first fit")}
    percent = {f"{name} unallocated %": part * 100 for name, part in unallocated.items()}
    for name in ("FGD", "best fit", "first fit"):
        ratio = (unallocated[name] + NOTHING) / (unallocated["ours"] + NOTHING)
        yield Row(
            "G-e4", f"unallocated devices, {name}", ratio, 1.0, f"{name}, {source}", percent if name == "FGD" else {}
        )


def _arrivals(pods: Sequence[Pod], devices: int, chance: random.Random) -> list[Pod]:
    found, left = list[Pod](), devices * WHOLE * ARRIVING
    while left > 0:
        found.append(chance.choice(pods))
        left -= found[-1].amount
    return found


def _ours(nodes: Sequence[int], asked: Sequence[Pod]) -> int:
    """Return what the pool of production takes."""
    devices = [Device((node, at), node, "gpu") for node, size in enumerate(nodes) for at in range(size)]
    pool, taken = Pool(devices, [], []), 0
    for number, pod in enumerate(asked):
        work = Work(
            job_id=number,
            tenant_id=0,
            device_class="gpu",
            queued_at=NOW,
            devices=pod.devices,
            share=pod.share,
            one_node=True,
        )
        taken += pod.amount if pool.give(work) else 0
    return taken


def _placed(nodes: Sequence[int], asked: Sequence[Pod], score: Score) -> int:
    """Return what is taken if each job goes where the score is least; nodes in equal states are one choice."""
    states: Counter[State] = Counter((WHOLE,) * size for size in nodes)
    taken = 0
    for pod in asked:
        choices = ((score(state, after, pod), state, after) for state in states for after in _afters(state, pod))
        best = min(choices, key=lambda choice: choice[0], default=None)
        if best is None:
            continue
        _, before, after = best
        states[before] -= 1
        states += Counter()  # drops what is zero
        states[after] += 1
        taken += pod.amount
    return taken


@lru_cache(maxsize=100_000)
def _afters(state: State, pod: Pod) -> tuple[State, ...]:
    """Return what a node may be after it took a job: one state for each device that could give the share."""
    if pod.share == WHOLE:
        whole = state.count(WHOLE)
        if whole < pod.devices:
            return ()
        return (tuple(sorted((0,) * pod.devices + state[: len(state) - pod.devices])),)
    return tuple(
        tuple(sorted((*state[:at], left - pod.share, *state[at + 1 :])))
        for at, left in enumerate(state)
        if left >= pod.share and (at == 0 or state[at - 1] != left)
    )


def _fragmentation(mix: Counter[Pod]) -> Score:
    """Return how much the fragmentation of a node grows: what is left of it that a job of the mix cannot use."""
    number = sum(mix.values())

    @lru_cache(maxsize=100_000)
    def of(state: State) -> float:
        total = 0.0
        for pod, times in mix.items():
            if pod.share == WHOLE:
                whole = state.count(WHOLE)
                lost = sum(state) if whole < pod.devices else sum(left for left in state if left < WHOLE)
            else:
                lost = sum(left for left in state if left < pod.share)
            total += times * lost / number
        return total

    return lambda before, after, pod: of(after) - of(before)
