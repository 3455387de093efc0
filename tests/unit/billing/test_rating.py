"""Rating: every second falls in exactly one day, period and price."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.rating.calendar import (
    QUARTER,
    day_start,
    hour_of,
    local_day,
    next_period,
    period_bounds,
    period_of,
    quarter_of,
    quarters,
    split,
)
from billing.rating.flat import charge
from billing.rating.quantity import count_refusal, refusal, seconds_between, seconds_delta
from billing.rating.selection import PriceEntry, PriceList, choose, in_force, starts_within
from tests.support.examples import examples

ZONES = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Australia/Lord_Howe",
    "America/Havana",
    "Asia/Beirut",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
    "Etc/GMT+12",
    "Africa/Cairo",
]
# Month ends, both changes of the clock, leap days and a year's end get as many tries as the rest.
EDGES = [
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2025, 3, 30, 1, tzinfo=UTC),
    datetime(2025, 10, 26, 1, tzinfo=UTC),
    datetime(2025, 11, 2, 5, tzinfo=UTC),
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime(2026, 3, 1, tzinfo=UTC),
    datetime(2026, 10, 4, 2, tzinfo=UTC),
    datetime(2028, 2, 29, 12, tzinfo=UTC),
]
MOMENTS = st.one_of(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)).map(lambda at: at.replace(tzinfo=UTC)),
    st.builds(
        lambda edge, off: edge + timedelta(microseconds=off),
        st.sampled_from(EDGES),
        st.integers(-86_400_000_000, 86_400_000_000),
    ),
)
LENGTHS = st.one_of(st.integers(1, 10_000_000), st.integers(1, 86_400_000_000)).map(
    lambda us: timedelta(microseconds=us)
)


@settings(max_examples=examples(10_000), deadline=None)
@given(MOMENTS, LENGTHS, st.sampled_from(ZONES), st.lists(MOMENTS, max_size=3))
def test_b4_every_segment_lies_in_one_day_one_period_and_one_price(
    start: datetime, length: timedelta, zone: str, price_starts: list[datetime]
) -> None:
    end = start + length
    cuts = [*price_starts, start + length / 3]
    segments = split(start.astimezone(ZoneInfo(zone)), end.astimezone(ZoneInfo(zone)), cuts)
    assert quarters(start, end) == len(split(start, end))
    assert segments[0][0] == start
    assert segments[-1][1] == end
    assert all(left[1] == right[0] for left, right in pairwise(segments))
    assert sum((seconds_between(*segment) for segment in segments), Decimal(0)) == seconds_between(start, end)
    for first, last in segments:
        assert first < last
        final = last - timedelta(microseconds=1)
        assert local_day(first, zone) == local_day(final, zone)
        assert quarter_of(first) == quarter_of(final)
        assert hour_of(first) == hour_of(final)
        assert not [cut for cut in cuts if first < cut < last]
        period = period_of(local_day(first, zone))
        opens, closes = period_bounds(period, zone)
        assert opens <= first
        assert last <= closes


@settings(max_examples=examples(3_000), deadline=None)
@given(
    st.lists(st.tuples(MOMENTS, st.integers(0, 10**9)), min_size=1, max_size=5, unique_by=lambda p: p[0]),
    MOMENTS,
    LENGTHS,
)
def test_b5_each_segment_is_rated_by_the_price_in_force_at_its_time(
    versions: list[tuple[datetime, int]], start: datetime, length: timedelta
) -> None:
    lists = [
        PriceList(
            UUID(int=number),
            begins,
            "EUR",
            (PriceEntry(UUID(int=number), "seconds", {}, Decimal(micro).scaleb(-6)),),
        )
        for number, (begins, micro) in enumerate(versions)
    ]
    end = start + length
    amount = Decimal(0)
    for first, last in split(start, end, starts_within(lists, start, end)):
        listed = in_force(lists, first)
        assert listed == in_force(lists, last - timedelta(microseconds=1))
        if listed is not None:
            amount += charge(seconds_between(first, last), listed.entries[0].unit_amount)
    expected = Decimal(0)
    ordered = sorted(lists, key=lambda item: item.effective_at)
    for item, following in zip(ordered, [*ordered[1:], None], strict=True):
        opens = max(start, item.effective_at)
        closes = min(end, following.effective_at) if following else end
        if opens < closes:
            expected += seconds_between(opens, closes) * item.entries[0].unit_amount
    assert amount == expected


@settings(max_examples=examples(3_000), deadline=None)
@given(MOMENTS, st.integers(-(10**12), 10**12), MOMENTS)
def test_b8_only_short_past_positive_intervals_are_usage(start: datetime, micros: int, now: datetime) -> None:
    end = start + timedelta(microseconds=micros)
    sound = 0 < micros <= 86_400 * 10**6 and end <= now + timedelta(minutes=5)
    assert (refusal(start, end, now) is None) == sound
    assert refusal(start.replace(tzinfo=None), end, now) is not None


@pytest.mark.parametrize("zone", ZONES)
def test_months_follow_each_other_without_gap_or_overlap(zone: str) -> None:
    period = datetime(2023, 12, 1, tzinfo=UTC).date()
    for _ in range(60):
        opens, closes = period_bounds(period, zone)
        assert local_day(opens, zone) == period
        assert local_day(opens - timedelta(microseconds=1), zone) < period
        period = next_period(period)
        assert closes == period_bounds(period, zone)[0]
        assert opens == quarter_of(opens)


def test_a_midnight_that_the_clock_skips_starts_the_day_at_its_first_instant() -> None:
    day = datetime(2025, 3, 30, tzinfo=UTC).date()
    assert day_start(day, "Asia/Beirut") == datetime(2025, 3, 29, 22, tzinfo=UTC)
    assert (datetime(2025, 1, 1, tzinfo=UTC) - QUARTER) == quarter_of(
        datetime(2024, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    )
    assert seconds_delta(Decimal("1.0000019")) == timedelta(seconds=1, microseconds=1)


def test_the_most_specific_price_wins_whatever_the_order() -> None:
    ids = [uuid4() for _ in range(4)]
    entries = [
        PriceEntry(ids[0], "seconds", {}, Decimal(4)),
        PriceEntry(ids[1], "seconds", {"class": "small"}, Decimal(3)),
        PriceEntry(ids[2], "seconds", {"class": "small", "tier": "spot"}, Decimal(1)),
        PriceEntry(ids[3], "other", {"class": "small", "tier": "spot"}, Decimal(9)),
    ]
    for order in (entries, entries[::-1]):
        spot = choose(order, "seconds", {"class": "small", "tier": "spot", "zone": "a"})
        assert spot is not None
        assert spot.price_id == ids[2]
        plain = choose(order, "seconds", {"class": "large"})
        assert plain is not None
        assert plain.price_id == ids[0]
    assert choose(entries[1:], "seconds", {"class": "large"}) is None


@pytest.mark.parametrize(
    ("text", "word"),
    [
        *((good, None) for good in ("1", "0.000001", "1E12", "1.50000000000000000000000000000000000000", "1E-6")),
        *((large, "10^12") for large in ("1E1000000", "1E999999", "1000000000000.000001", "-1E999999", "0", "NaN")),
        *(
            (fine, "six decimals")
            for fine in ("1E-7", "1E-999999", "1E-1000000", "999999999999.0000001", "1." + "1" * 99)
        ),
    ],
)
def test_a_count_is_checked_without_being_expanded(text: str, word: str | None) -> None:
    reason = count_refusal(Decimal(text), timed=False)
    assert (reason is None) if word is None else (word in (reason or ""))
