"""A token bucket per key: its requests per minute, in a burst or spread out. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class Bucket:
    """`per_minute` tokens, refilled steadily; full at the start."""

    per_minute: int
    level: float = -1.0
    at: float = 0.0

    def take(self, now: float) -> float:
        """Take a token at `now` (seconds, monotonic); return 0, or the seconds until one is available."""
        rate = self.per_minute / 60
        if self.level < 0:
            self.level = float(self.per_minute)
        else:
            self.level = min(float(self.per_minute), self.level + max(0.0, now - self.at) * rate)
        self.at = now
        if self.level >= 1:
            self.level -= 1
            return 0.0
        return (1 - self.level) / rate
