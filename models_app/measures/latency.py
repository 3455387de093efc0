"""Latency in buckets that grow by a quarter: sums over any time range give percentiles within one bucket. Pure."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Sequence

FIRST_MS = 0.1
LAST_MS = 60_000.0
RATIO = 1.25

BOUNDS: tuple[float, ...] = tuple(
    FIRST_MS * RATIO**step for step in range(math.ceil(math.log(LAST_MS / FIRST_MS) / math.log(RATIO)) + 1)
)
"""Upper bounds of the buckets in milliseconds; one more bucket holds larger values."""

BUCKETS = len(BOUNDS) + 1


def bucket(ms: float) -> int:
    """Return the bucket of one latency: `(previous bound, bound]`; NaN counts as the longest."""
    return bisect_left(BOUNDS, ms) if ms == ms else BUCKETS - 1


def count(latencies: Sequence[float]) -> list[int]:
    """Return the number of latencies in each bucket."""
    counts = [0] * BUCKETS
    for ms in latencies:
        counts[bucket(ms)] += 1
    return counts


def percentile(counts: Sequence[int], q: float) -> float | None:
    """Return the latency in milliseconds below which a share `q` of the requests stayed; None without requests.

    The value lies in the bucket of the true one (nearest rank), interpolated by its rank.
    """
    total = sum(counts)
    if not total:
        return None
    rank = max(1, math.ceil(q * total))
    seen = 0
    for at, number in enumerate(counts):
        if number and seen + number >= rank:
            low, high = span(at)
            return low + (high - low) * (rank - seen) / number
        seen += number
    return BOUNDS[-1]


def span(at: int) -> tuple[float, float]:
    """Return the lower and upper bound of a bucket in milliseconds."""
    low = BOUNDS[at - 1] if at else 0.0
    return low, BOUNDS[at] if at < len(BOUNDS) else BOUNDS[-1] * RATIO
