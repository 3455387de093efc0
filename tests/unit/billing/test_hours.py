"""Hours of a period: every zone, both changes of the clock, leap years."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rating.calendar import hour_of, period_bounds
from billing.rating.hours import bucket_of, hours_between

ZONES = [
    "UTC", "Europe/Berlin", "America/New_York", "Pacific/Auckland", "Pacific/Kiritimati", "Asia/Kolkata", "Asia/Kathmandu",
    "Australia/Lord_Howe", "America/St_Johns", "Pacific/Chatham",
]  # fmt: skip


@pytest.mark.parametrize(
    ("zone", "month", "hours"),
    [
        ("UTC", date(2028, 2, 1), 29 * 24), ("Asia/Kolkata", date(2027, 4, 1), 720), ("Asia/Kathmandu", date(2027, 4, 1), 720),
        ("America/New_York", date(2027, 3, 1), 743), ("America/New_York", date(2027, 11, 1), 721),
        ("Pacific/Auckland", date(2027, 4, 1), 721), ("Pacific/Auckland", date(2027, 9, 1), 719),
    ],
)  # fmt: skip
def test_a_month_has_the_hours_of_its_clock(zone: str, month: date, hours: int) -> None:
    assert hours_between(*period_bounds(month, zone)) == hours


@given(
    zone=st.sampled_from(ZONES),
    month=st.dates(date(2026, 1, 1), date(2032, 12, 31)).map(lambda day: day.replace(day=1)),
    part=st.integers(0, 31 * 24 * 4),
)
def test_usage_of_a_month_lies_in_no_more_hours_than_it_has(zone: str, month: date, part: int) -> None:
    starts, ends = period_bounds(month, zone)
    quarters = int((ends - starts) / timedelta(minutes=15))
    buckets = {bucket_of(hour_of(starts + timedelta(minutes=15 * n)), starts, ends) for n in range(quarters)}
    assert len(buckets) == hours_between(starts, ends)
    moment = starts + timedelta(minutes=15 * (part % quarters))
    assert bucket_of(moment, starts, ends) in buckets
    assert abs(hours_between(starts, ends) - (ends - starts) / timedelta(hours=1)) < 1


def test_the_two_half_hours_of_a_month_are_one() -> None:
    starts, ends = period_bounds(date(2027, 4, 1), "Asia/Kolkata")
    assert bucket_of(ends - timedelta(minutes=1), starts, ends) == datetime(2027, 3, 31, 18, tzinfo=UTC)
