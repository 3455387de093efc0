"""Hours of a billing period, in which savings plans by the hour commit their amount.

Usage is summed by hours of UTC. Where a zone is half an hour off, a month begins and ends within one of them: the two
parts that lie in the month count as one hour, so that a month of 30 days has 720.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from billing.rating.calendar import hour_of

HOUR = timedelta(hours=1)


def hours_between(starts_at: datetime, ends_at: datetime) -> int:
    """Return the number of hours of the period `[starts_at, ends_at)`."""
    first, last = hour_of(starts_at), hour_of(ends_at - timedelta(microseconds=1))
    return (last - first) // HOUR + (0 if _parts_are_one(starts_at, ends_at) else 1)


def bucket_of(hour: datetime, starts_at: datetime, ends_at: datetime) -> datetime:
    """Return the hour of the period in which usage of an hour of UTC is covered: its own, or the first for the last part."""
    hour = hour_of(hour)
    if _parts_are_one(starts_at, ends_at) and hour == hour_of(ends_at):
        return hour_of(starts_at)
    return hour


def _parts_are_one(starts_at: datetime, ends_at: datetime) -> bool:
    """Return whether the parts of an hour at the two ends of the period are one hour at most together."""
    begun, left = starts_at - hour_of(starts_at), ends_at - hour_of(ends_at)
    return bool(begun and left) and left <= begun
