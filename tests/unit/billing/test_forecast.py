"""The forecast learns from weekdays, with a band, a runway and days that stand out."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from billing.forecast import anomalies, forecast, learn
from billing.rating.calendar import span_end, span_name, span_start

A_DAY = timedelta(days=1)
TODAY = date(2028, 2, 29)  # a Tuesday
WEEK = [Decimal(10)] * 5 + [Decimal(1)] * 2
CENTS = st.integers(0, 10_000).map(lambda cents: Decimal(cents).scaleb(-2))
DAYS = st.dates(date(2020, 1, 1), date(2040, 12, 31))


def steady(before: date, days: int = 80) -> dict[date, Decimal]:
    """Ten on working days, one at weekends."""
    return {day: WEEK[day.weekday()] for day in (before - A_DAY * number for number in range(1, days + 1))}


def test_working_days_and_weekends_are_forecast_as_they_were_without_a_band() -> None:
    known = learn(steady(TODAY), TODAY)
    assert known is not None
    assert (known.deviation, list(known.means)) == (0, WEEK)
    # The rest of the leap day, and four weeks and three days of March, of which a weekend is one short.
    found = forecast(Decimal(100), known, date(2028, 4, 1), (TODAY, Decimal(4)), Decimal(150))
    rest = sum((WEEK[day.weekday()] for day in (TODAY + A_DAY * number for number in range(1, 32))), Decimal(6))
    assert found.expected == found.low == found.high == 100 + rest
    assert found.runway_on == date(2028, 3, 7), (
        "6 today, 30 to Friday, 2 at the weekend, 10 on Monday, the rest on Tuesday"
    )
    assert forecast(Decimal(100), known, date(2028, 4, 1), (TODAY, Decimal(4)), Decimal(9999)).runway_on is None


def test_less_than_two_weeks_give_no_forecast() -> None:
    assert learn({}, TODAY) is None
    assert learn(steady(TODAY, 13), TODAY) is None
    assert learn(steady(TODAY, 14), TODAY) is not None


@settings(max_examples=200)
@given(DAYS, st.lists(CENTS, min_size=14, max_size=56), CENTS, st.sampled_from(["month", "quarter", "year"]))
def test_the_band_holds_the_expectation_and_never_falls_below_what_is_spent(
    day: date, costs: list[Decimal], spent: Decimal, length: str
) -> None:
    known = learn({day - A_DAY * number: cost for number, cost in enumerate(costs, 1)}, day)
    assert known is not None
    until = span_end(day, length)
    found = forecast(spent, known, until, (day, spent), Decimal(100))
    assert spent <= found.low <= found.expected <= found.high
    assert found.runway_on is None or day <= found.runway_on < until
    assert (found.runway_on is None) == (found.expected < 100)


@settings(max_examples=200)
@given(DAYS, st.integers(0, 13), st.integers(20, 1000))
def test_a_day_stands_out_by_its_weekday_and_a_steady_one_does_not(day: date, ago: int, more: int) -> None:
    costs = steady(day + A_DAY)
    days = [day - A_DAY * number for number in range(14)]
    assert anomalies(costs, days, Decimal(5)) == []
    spike = day - A_DAY * ago
    costs[spike] += more
    (found,) = anomalies(costs, days, Decimal(5))
    assert (found.day, found.cost - found.expected) == (spike, more)
    assert anomalies(costs, days, Decimal(more)) == [], "too small a share of the budget"


@settings(max_examples=300)
@given(DAYS, st.sampled_from(["month", "quarter", "year"]))
def test_each_day_lies_in_one_month_quarter_and_year(day: date, length: str) -> None:
    start, end = span_start(day, length), span_end(day, length)
    assert start <= day < end
    assert span_start(end - A_DAY, length) == start
    assert span_start(end, length) == end
    assert span_name(start, length) == span_name(span_start(end - A_DAY, length), length)


def test_spans_are_named_as_people_name_them() -> None:
    names = [span_name(span_start(date(2026, 12, 31), length), length) for length in ("month", "quarter", "year")]
    assert names == ["December 2026", "Q4 2026", "2026"]
