"""The time range of a page: chosen in the query string, half-open, in days of the organisation's own time zone."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta

CHOICES = {
    "month": "Month to date",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "last-month": "Last month",
    "custom": "Custom",
}
LONGEST = timedelta(days=92)
EARLIEST, LATEST = 1970, 9000
NO_RANGE = f"Choose a first and a last day, at most {LONGEST.days} days. Until then this is the month to date:"


@dataclass(frozen=True)
class Range:
    """Local days `[first, end)`; `key` is the value in the query string."""

    key: str
    first: date
    end: date
    problem: str = ""

    @property
    def days(self) -> list[date]:
        """Return every day of the range."""
        return [self.first + timedelta(days=n) for n in range((self.end - self.first).days)]

    @property
    def label(self) -> str:
        """Return the range as text."""
        last = self.end - timedelta(days=1)
        return f"{self.first.day} {self.first:%b %Y} to {last.day} {last:%b %Y}"


def parse(values: Mapping[str, str], today: date) -> Range:
    """Return the chosen range; month to date for anything invalid."""
    key = values.get("range", "month")
    tomorrow, month = today + timedelta(days=1), today.replace(day=1)
    if key == "7d":
        return Range(key, tomorrow - timedelta(days=7), tomorrow)
    if key == "30d":
        return Range(key, tomorrow - timedelta(days=30), tomorrow)
    if key == "last-month":
        return Range(key, (month - timedelta(days=1)).replace(day=1), month)
    if key == "custom":
        return _custom(values) or Range("month", month, tomorrow, problem=NO_RANGE)
    return Range("month", month, tomorrow)


def fault_of(values: Mapping[str, str]) -> str:
    """Return why an export cannot use the given days, or empty. A page shows the month to date instead."""
    if values.get("range") == "custom":
        return "" if _custom(values) else f"from, to: give a first and a last day, at most {LONGEST.days} days."
    return "from, to: use them with range=custom." if values.get("from") or values.get("to") else ""


def _custom(values: Mapping[str, str]) -> Range | None:
    try:
        first, last = (date.fromisoformat(values.get(name, "")) for name in ("from", "to"))
        end = last + timedelta(days=1)
    except (ValueError, OverflowError):
        return None
    fits = first.year >= EARLIEST and end.year < LATEST and timedelta() < end - first <= LONGEST
    return Range("custom", first, end) if fits else None
