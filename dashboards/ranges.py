"""The time range of a page: chosen in the query string, half-open, in UTC."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

CHOICES = {
    "month": "Month to date",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
    "last-month": "Last month",
    "custom": "Custom",
}
LONGEST = timedelta(days=400)


@dataclass(frozen=True)
class Range:
    """`[start, end)`; `key` is what the query string says."""

    key: str
    label: str
    start: datetime
    end: datetime

    @property
    def days(self) -> list[date]:
        """Return every UTC day that the range touches."""
        last = (self.end - timedelta(microseconds=1)).date()
        count = (last - self.start.date()).days + 1
        return [self.start.date() + timedelta(days=n) for n in range(count)]


def parse(values: Mapping[str, str], now: datetime) -> Range:
    """Return the chosen range; month to date for anything that is not one."""
    key = values.get("range", "month")
    today = datetime.combine(now.astimezone(UTC).date(), time(), tzinfo=UTC)
    tomorrow = today + timedelta(days=1)
    month = today.replace(day=1)
    if key == "7d":
        return Range(key, CHOICES[key], tomorrow - timedelta(days=7), tomorrow)
    if key == "30d":
        return Range(key, CHOICES[key], tomorrow - timedelta(days=30), tomorrow)
    if key == "last-month":
        return Range(key, CHOICES[key], (month - timedelta(days=1)).replace(day=1), month)
    if key == "custom":
        chosen = _custom(values)
        if chosen:
            return chosen
    return Range("month", CHOICES["month"], month, tomorrow)


def _custom(values: Mapping[str, str]) -> Range | None:
    try:
        first, last = (date.fromisoformat(values.get(name, "")) for name in ("from", "to"))
    except ValueError:
        return None
    start = datetime.combine(first, time(), tzinfo=UTC)
    end = datetime.combine(last, time(), tzinfo=UTC) + timedelta(days=1)
    if not timedelta() < end - start <= LONGEST:
        return None
    return Range("custom", f"{first:%d %b %Y} to {last:%d %b %Y}", start, end)
