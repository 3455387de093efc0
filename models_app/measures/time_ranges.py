"""Time ranges for monitoring, each cut into steps that fit a chart. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

ZERO = datetime(2000, 1, 1, tzinfo=UTC)
DEFAULT = "24h"


@dataclass(frozen=True)
class TimeRange:
    """Half-open `[first, end)` in steps; the last step contains the present."""

    key: str
    first: datetime
    end: datetime
    step: timedelta

    @property
    def step_s(self) -> int:
        """Return how many seconds a step has."""
        return int(self.step.total_seconds())

    @property
    def starts(self) -> list[datetime]:
        """Return the start of each step."""
        return [self.first + n * self.step for n in range((self.end - self.first) // self.step)]


@dataclass(frozen=True)
class Choice:
    """One selectable time range."""

    label: str
    length: timedelta
    step: timedelta


CHOICES = {
    "1h": Choice("Last hour", timedelta(hours=1), timedelta(minutes=1)),
    "24h": Choice("Last 24 hours", timedelta(hours=24), timedelta(minutes=15)),
    "7d": Choice("Last 7 days", timedelta(days=7), timedelta(hours=2)),
    "30d": Choice("Last 30 days", timedelta(days=30), timedelta(hours=8)),
}


def span(key: str, now: datetime) -> TimeRange:
    """Return the time range of this name that ends now. Raises KeyError."""
    choice = CHOICES[key]
    end = now - (now - ZERO) % choice.step + choice.step
    return TimeRange(key, end - choice.length, end, choice.step)
