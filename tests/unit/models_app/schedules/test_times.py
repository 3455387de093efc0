"""Ticks of cron expressions over summer time, leap days and ends of months; and what a wrong one is refused with."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models_app.schedules import times
from tenants.clock import timezones

#: Summer time by an hour, by half an hour, at midnight, and none; a zone that skipped a day.
ZONES = st.sampled_from(
    [
        "Europe/Zurich",
        "America/New_York",
        "Australia/Lord_Howe",
        "Africa/Cairo",
        "Asia/Kathmandu",
        "Pacific/Apia",
        "UTC",
    ]
)
INSTANTS = st.datetimes(datetime(2026, 1, 1), datetime(2031, 1, 1), timezones=st.just(UTC))
CRONS = st.builds(
    "{} {} {} {} {}".format,
    st.sampled_from(["0", "30", "59", "0,30", "*/5", "*/15", "5-20/5"]),
    st.sampled_from(["*", "2", "0", "1,2,3", "*/6", "23"]),
    st.sampled_from(["*", "31", "L", "LW", "29", "1-7"]),
    st.sampled_from(["*", "2", "3,10", "*/3"]),
    st.sampled_from(["*", "MON", "7", "MON#1", "1-5"]),
)


def first_instant_of(day: date, wall: time, zone: ZoneInfo) -> datetime:
    """Return when a wall clock first shows a time of a day, or has passed it: minute by minute, as a person would look."""
    wanted = datetime.combine(day, wall)
    moment = datetime.combine(day, time(), UTC) - timedelta(hours=15)
    while moment.astimezone(zone).replace(tzinfo=None) < wanted:
        moment += timedelta(minutes=1)
    return moment


@settings(max_examples=12, deadline=None)
@given(zone=ZONES, wall=st.times(), year=st.integers(2026, 2030), around=st.sampled_from([3, 4, 10, 11]))
def test_a_fixed_time_is_due_once_a_day_also_when_clocks_change(zone, wall, year, around):
    wall = wall.replace(second=0, microsecond=0)
    days = [date(year, around, 1) + timedelta(days=number) for number in range(31)]
    expected = [first_instant_of(day, wall, ZoneInfo(zone)) for day in days]
    cron = f"{wall.minute} {wall.hour} * * *"
    assert times.upcoming(cron, zone, expected[0] - timedelta(seconds=1), len(days)) == expected


@pytest.mark.parametrize(
    ("cron", "after", "due"),
    [
        ("30 2 * * *", "2027-03-27T12:00", ["2027-03-28T01:00", "2027-03-29T00:30"]),  # 2:30 does not exist
        ("30 2 * * *", "2027-10-30T12:00", ["2027-10-31T00:30", "2027-11-01T01:30"]),  # 2:30 is there twice
        ("30 2 * * *", "2027-10-31T01:10", ["2027-11-01T01:30"]),  # asked between the two
        ("*/30 * * * *", "2027-10-31T00:10", ["2027-10-31T00:30", "2027-10-31T01:00", "2027-10-31T01:30"]),
        ("0 6 29 2 *", "2027-01-01T00:00", ["2028-02-29T05:00", "2032-02-29T05:00"]),
        ("0 6 31 * *", "2027-01-31T12:00", ["2027-03-31T04:00", "2027-05-31T04:00", "2027-07-31T04:00"]),
        ("0 0 L 2 *", "2027-01-01T00:00", ["2027-02-27T23:00", "2028-02-28T23:00"]),
        ("@weekly", "2027-01-01T00:00", ["2027-01-02T23:00", "2027-01-09T23:00"]),
        ("0 6 1 * MON", "2027-01-01T12:00", ["2027-01-04T05:00"]),  # either day
    ],
)
def test_these_days_are_due(cron, after, due):
    found = times.upcoming(cron, "Europe/Zurich", datetime.fromisoformat(after).replace(tzinfo=UTC), len(due))
    assert [f"{one:%Y-%m-%dT%H:%M}" for one in found] == due


@settings(max_examples=200, deadline=None)
@given(cron=CRONS, zone=ZONES, after=INSTANTS, part=st.floats(0, 1))
def test_ticks_rise_and_are_the_same_from_wherever_one_asks(cron, zone, after, part):
    """A controller that comes back at any instant goes on with the tick that it would have had."""
    if times.faults(cron, zone):
        return
    ticks = times.upcoming(cron, zone, after, 30)
    assert ticks == sorted(set(ticks))
    assert all(tick > after and tick.second == tick.microsecond == 0 for tick in ticks)
    between = after + (ticks[-1] - after) * part
    assert times.upcoming(cron, zone, between)[0] == next(
        (tick for tick in ticks if tick > between), times.upcoming(cron, zone, ticks[-1])[0]
    )
    span = times.between(cron, zone, ticks[0], between, 5)
    passed = [tick for tick in ticks if tick <= between] or ticks[:1]
    assert (span.count, span.newest) == (len(passed), tuple(passed[-5:]))


@settings(max_examples=300, deadline=None)
@given(
    cron=st.one_of(st.text(max_size=120), st.text("0123456789*/,-#LW ", max_size=30), CRONS), zone=st.text(max_size=20)
)
def test_no_text_is_more_than_refused(cron, zone):
    found = times.faults(cron, zone)
    assert ("zone" in found) == (zone not in timezones())
    if "cron" not in found:
        assert times.words(cron)
        assert times.upcoming(cron, "UTC", times.SOME_DAY)


@pytest.mark.parametrize(
    ("cron", "said"),
    [
        ("* * * * *", "less than 5 minutes apart"),
        ("*/4 * * * *", "less than 5 minutes apart"),
        ("0,58 * * * *", "less than 5 minutes apart"),
        ("0 0 30 2 *", "day of month cannot be read"),
        ("0 25 * * *", "The field hour cannot be read"),
        ("0 6 * *", "Use five fields"),
        ("0 0 6 * * 1", "Use five fields"),
        ("", "Use five fields"),
        ("0 0 29 2 MON#1,TUE#1", ""),
        ("*/5 * * * *", ""),
        ("0,58 6 * * *", ""),
        ("@daily", ""),
    ],
)
def test_a_wrong_expression_is_refused_with_what_to_do(cron, said):
    found = times.faults(cron, "UTC").get("cron", [""])[0]
    assert said in found
    assert bool(said) == bool(found)


def test_an_unknown_zone_is_refused_with_the_one_that_was_meant():
    assert "Did you mean Europe/Zurich?" in times.faults("0 6 * * 1", "Europe/Zurch")["zone"][0]
    assert times.faults("0 6 * * 1", "Europe/Zurich") == {}


def test_an_expression_is_said_in_words():
    assert times.words("0 6 * * 1") == "At 06:00 on Monday"
