"""What a job could do with less of, from its peaks. Pure. Each piece of advice is a sentence with its evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ENOUGH_S = 600.0
AT_REST = 0.05
HALF = 0.5
MEMORY_LEFT = 0.35
GIB = 1024**3


@dataclass(frozen=True, kw_only=True)
class RankUse:
    """Use of one rank over all of a job's attempts: sampled and busy seconds, peak memory, and its device's, in bytes.

    `energy_j` is None where the device measures no power.
    """

    rank: int
    sampled_s: float
    used_s: float
    peak_memory_bytes: int
    memory_bytes: int
    energy_j: float | None

    @property
    def busy(self) -> float:
        """Return the part of the sampled time in which it was busy."""
        return min(1.0, self.used_s / self.sampled_s) if self.sampled_s > 0 else 0.0

    @property
    def percent(self) -> float:
        """Return `busy` in percent."""
        return self.busy * 100

    @property
    def memory_share(self) -> float:
        """Return the peak's part of the device's memory."""
        return self.peak_memory_bytes / self.memory_bytes if self.memory_bytes > 0 else 1.0


def advise(ranks: Sequence[RankUse]) -> list[str]:
    """Return advice on the number and the size of devices; none from less than ten minutes of samples of each.

    Devices: ranks at rest beside others that work are not needed. Size: only where memory's peak and utilisation are both
    low is a smaller class offered, since either alone may be what the job needs.
    """
    if not ranks or min(one.sampled_s for one in ranks) < ENOUGH_S:
        return []
    found = []
    resting = [one for one in ranks if one.busy < AT_REST]
    working = [one for one in ranks if one.busy >= AT_REST]
    if resting and working:
        found.append(
            f"{len(resting)} of its {len(ranks)} devices were busy for less than {AT_REST:.0%} of the time. "
            f"Ask for {len(working)}."
        )
    most = max(ranks, key=lambda one: one.memory_share)
    busiest = max(one.busy for one in ranks)
    if most.memory_share < MEMORY_LEFT and AT_REST <= busiest < HALF:
        found.append(
            f"At its peak it used {most.peak_memory_bytes / GIB:.1f} of {most.memory_bytes / GIB:.0f} GiB of memory, and "
            f"its busiest device was busy for {busiest:.0%} of the time. A smaller device class may do."
        )
    return found
