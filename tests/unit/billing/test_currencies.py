"""The currency of each day, and amounts that are restated from one to another."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest

from billing.rating.currencies import Currencies

CHANGES = [["2027-04-01", "USD", "EUR", "0.8"], ["2028-01-01", "EUR", "JPY", "160"]]
SEVERAL = Currencies.read("JPY", CHANGES)


@pytest.mark.parametrize(
    ("day", "currency"),
    [
        (date(1970, 1, 1), "USD"), (date(2027, 3, 31), "USD"), (date(2027, 4, 1), "EUR"), (date(2027, 12, 31), "EUR"),
        (date(2028, 1, 1), "JPY"),
    ],
)  # fmt: skip
def test_a_day_has_the_currency_of_the_last_change_before_it(day: date, currency: str) -> None:
    assert SEVERAL.of(day) == currency
    assert Currencies("CHF").of(day) == "CHF"


def test_a_span_falls_into_parts_of_one_currency() -> None:
    first, last = date(2027, 3, 30), date(2028, 1, 2)
    assert SEVERAL.within(first, last) == [
        (first, date(2027, 4, 1), "USD"), (date(2027, 4, 1), date(2028, 1, 1), "EUR"), (date(2028, 1, 1), last, "JPY"),
    ]  # fmt: skip
    assert SEVERAL.within(date(2027, 4, 1), date(2027, 5, 1)) == [(date(2027, 4, 1), date(2027, 5, 1), "EUR")]
    assert [SEVERAL.since(day) for day in (date(2027, 3, 1), date(2027, 4, 1))] == [date.min, date(2027, 4, 1)]


def test_amounts_are_restated_over_every_change_between_in_either_direction() -> None:
    assert SEVERAL.restated(Decimal(10), "USD", "EUR") == 8
    assert SEVERAL.restated(Decimal(10), "USD", "JPY") == 1280
    assert SEVERAL.restated(Decimal(1280), "JPY", "USD") == 10
    assert SEVERAL.restated(Decimal(3), "EUR", "EUR") == 3
    with pytest.raises(ValueError, match="CHF"):
        SEVERAL.restated(Decimal(1), "CHF", "EUR")
