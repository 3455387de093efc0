"""Drift of traffic from training: the population stability index, and whether chance explains it. Pure.

PSI = sum over bins of (p - q) ln(p / q), the symmetric Kullback-Leibler divergence of two samples' shares (Siddiqi
2006); 0.1 and 0.2 are its usual thresholds. For two samples of one population, n and m rows in B bins, it is about (1/n
+ 1/m) times chi-squared with B - 1 degrees of freedom (Yurdakul and Naranjo 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

NOTICE, ALARM = 0.1, 0.2
FALSE_ALARM = 1e-4
MIN_ROWS = 300
ENOUGH_ROWS = 400
SMOOTHING = 0.5
"""Added to each bin (Jeffreys), so that an empty bin does not make the PSI infinite."""


def psi(before: Sequence[int], after: Sequence[int]) -> float:
    """Return the PSI of two counts by bin: 0 if equal, never negative. Bins empty in both do not count."""
    pairs = _used(before, after)
    n, m = sum(one for one, _ in pairs), sum(other for _, other in pairs)
    if not n or not m:
        return 0.0
    more = SMOOTHING * len(pairs)
    total = 0.0
    for one, other in pairs:
        p, q = (one + SMOOTHING) / (n + more), (other + SMOOTHING) / (m + more)
        total += (p - q) * math.log(p / q)
    return max(0.0, total)


def noise(before: Sequence[int], after: Sequence[int], tests: int = 1) -> float:
    """Return the PSI that chance alone exceeds with probability FALSE_ALARM over `tests` such comparisons."""
    pairs = _used(before, after)
    n, m = sum(one for one, _ in pairs), sum(other for _, other in pairs)
    if len(pairs) < 2 or not n or not m:
        return 0.0
    return (1 / n + 1 / m) * chi_squared(1 - FALSE_ALARM / max(1, tests), len(pairs) - 1)


def drifted(before: Sequence[int], after: Sequence[int], tests: int = 1) -> bool:
    """Return whether traffic has drifted: enough rows, a PSI above the upper threshold, and more than chance explains."""
    return sum(after) >= MIN_ROWS and psi(before, after) >= max(ALARM, noise(before, after, tests))


def settled(before: Sequence[int], after: Sequence[int], tests: int = 1) -> bool:
    """Return whether traffic matches training again.

    That takes enough rows, and a PSI below the lower threshold or well within chance.
    """
    return sum(after) >= MIN_ROWS and psi(before, after) < max(NOTICE, 0.75 * noise(before, after, tests))


def chi_squared(share: float, degrees: int) -> float:
    """Return the quantile of chi-squared by the cube-root approximation (Wilson and Hilferty 1931)."""
    spread = 2 / (9 * degrees)
    return float(degrees * max(0.0, 1 - spread + NormalDist().inv_cdf(share) * math.sqrt(spread)) ** 3)


def _used(before: Sequence[int], after: Sequence[int]) -> list[tuple[int, int]]:
    return [(one, other) for one, other in zip(before, after, strict=True) if one or other]
