"""Money: exact, one currency at a time, rounded once."""

from __future__ import annotations

import ast
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import billing
from billing.forms.fields import read_amount, typed
from billing.money import CurrencyMismatch, Money, computed, fineness_fault, minor_decimals, shown
from billing.rating.flat import affordable, charge
from tests.support.examples import examples

CURRENCIES = st.sampled_from(["EUR", "USD", "JPY", "KWD", "GBP", "CHF", "KRW", "BHD"])
AMOUNTS = st.decimals(min_value=-(10**12), max_value=10**12, places=12)
PRICES = st.decimals(min_value=0, max_value=1000, places=12)
QUANTITIES = st.decimals(min_value=0, max_value=86_400, places=6)


@settings(max_examples=examples(3_000), deadline=None)
@given(AMOUNTS, AMOUNTS, CURRENCIES, CURRENCIES)
def test_b13_two_currencies_never_meet_in_one_sum(left: Decimal, right: Decimal, one: str, other: str) -> None:
    a, b = Money(left, one), Money(right, other)
    if one == other:
        assert (a + b).amount == left + right
        assert (a + b) - b == a
        return
    for meet in (lambda: a + b, lambda: a - b, lambda: a < b, lambda: a >= b):
        with pytest.raises(CurrencyMismatch):
            meet()


@settings(max_examples=examples(3_000), deadline=None)
@given(AMOUNTS, CURRENCIES)
def test_b7_a_line_is_rounded_half_even_by_at_most_half_a_minor_unit(amount: Decimal, currency: str) -> None:
    money = Money(amount, currency)
    unit = Decimal(1).scaleb(-minor_decimals(currency))
    assert abs(money.rounded().amount - amount) <= unit / 2
    assert money.rounded().amount == amount.quantize(unit, ROUND_HALF_EVEN)
    assert money.rounded().rounded() == money.rounded()


@pytest.mark.parametrize(("currency", "line"), [("JPY", "0"), ("USD", "0.01"), ("KWD", "0.010")])
def test_b7_a_million_micro_cent_events_cost_what_one_big_event_costs(currency: str, line: str) -> None:
    micro_cent = Decimal("0.00000001")
    total = sum((charge(Decimal(1), micro_cent) for _ in range(1_000_000)), Decimal(0))
    assert total == charge(Decimal(1_000_000), micro_cent)
    assert Money(total, currency).rounded().amount == Decimal(line)


@settings(max_examples=examples(2_000), deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=9), AMOUNTS, CURRENCIES)
def test_allocated_parts_add_up_to_the_rounded_amount(weights: list[int], amount: Decimal, currency: str) -> None:
    money = Money(amount, currency)
    if not any(weights):
        with pytest.raises(ValueError, match="weights"):
            money.allocate(weights)
        return
    parts = money.allocate(weights)
    assert sum((part.amount for part in parts), Decimal(0)) == money.rounded().amount
    for part, weight in zip(parts, weights, strict=True):
        share = abs(money.minor) * Decimal(weight) / sum(weights)
        assert abs(abs(part.minor) - share) < 1


def test_of_equal_remainders_the_earlier_part_gets_the_unit() -> None:
    # 87 * 346 and 87 * 44 leave the same remainder by 453; their quotients differ in the eightieth digit.
    parts = Money(Decimal(87), "JPY").allocate([346, 36, 10, 44, 17])
    assert [part.minor for part in parts] == [67, 7, 2, 8, 3]


@settings(max_examples=examples(3_000), deadline=None)
@given(QUANTITIES, PRICES, QUANTITIES)
def test_what_is_affordable_never_costs_more_than_what_is_left(wanted: Decimal, price: Decimal, left: Decimal) -> None:
    fits = affordable(left, price, wanted)
    assert 0 <= fits <= wanted
    assert charge(fits, price) <= left or price == 0
    if fits < wanted:
        assert charge(fits + Decimal("0.000001"), price) >= left


@pytest.mark.parametrize("bad", [Decimal("NaN"), Decimal("Infinity"), Decimal(-1), Decimal("-1e-9")])
def test_b8_a_charge_is_never_made_of_a_negative_or_unreal_number(bad: Decimal) -> None:
    with pytest.raises(ValueError, match="finite and not negative"):
        charge(bad, Decimal(1))
    with pytest.raises(ValueError, match="finite and not negative"):
        charge(Decimal(1), bad)


def test_the_widest_stored_amount_keeps_every_digit_when_its_sign_changes() -> None:
    widest = Decimal("9" * 26 + "." + "9" * 12)
    assert -Money(widest, "EUR") == Money(widest.copy_negate(), "EUR")


def test_money_refuses_floats_and_unreal_amounts() -> None:
    with pytest.raises(TypeError):
        Money(1.5, "EUR")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Money(Decimal(1), "EUR") * 1.5  # type: ignore[operator]
    with pytest.raises(ValueError, match="finite"):
        Money(Decimal("NaN"), "EUR")
    with pytest.raises(ValueError, match="capital letters"):
        Money(Decimal(1), "eur")


def test_money_is_written_with_six_decimals_or_as_many_as_it_has() -> None:
    assert Money(Decimal("12.34"), "EUR").json() == {"amount": "12.340000", "currency": "EUR"}
    assert shown(Decimal("0.000000000001")) == "0.000000000001"
    assert shown(Decimal("-0")) == "0.000000"
    assert shown(Decimal("1E+3")) == "1000.000000"
    assert computed(Decimal("0.0000000000005")) == Decimal("0E-12")


def test_an_entered_amount_is_whole_minor_units_of_its_currency() -> None:
    for good, currency in (("0", "EUR"), ("12.5", "EUR"), ("12.5000", "EUR"), ("0.001", "KWD"), ("1E+14", "JPY")):
        assert fineness_fault(Decimal(good), currency) is None, good
    assert fineness_fault(Decimal("0.0000001"), "EUR") == "Give the amount with at most 2 decimals."
    assert fineness_fault(Decimal("999999999999999.0001"), "KWD") == "Give the amount with at most 3 decimals."
    assert fineness_fault(Decimal("0.5"), "JPY") == "Give the amount without decimals."


def test_b7_no_float_is_written_in_billing() -> None:
    """No manual division either: `/` between Decimals occurs only in money and rating."""
    root = Path(billing.__file__).parent
    found = []
    for path in sorted(root.rglob("*.py")):
        # The usage server waits for seconds, and knows no amounts.
        if {"migrations", "usage_server"} & set(path.parts):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            literal = isinstance(node, ast.Constant) and isinstance(node.value, float)
            call = isinstance(node, ast.Name) and node.id in {"float", "FloatField"}
            field = isinstance(node, ast.Attribute) and node.attr in {"FloatField", "total_seconds"}
            if literal or call or field:
                found.append(f"{path.relative_to(root)}:{getattr(node, 'lineno', 0)}")
    assert found == []


@pytest.mark.parametrize(
    ("amount", "currency", "written"),
    [
        ("0.392992268912", "EUR", "€0.3930"), ("0.0405", "EUR", "€0.0405"), ("0.30", "EUR", "€0.30"),
        ("0.000052", "EUR", "€0.000052"), ("7.4649", "EUR", "€7.46"), ("0", "JPY", "¥0"),
        ("0.5", "JPY", "¥0.5000"), ("1234567.005", "KWD", "KWD\u00a01,234,567.005"), ("-0.0301", "EUR", "\u2212€0.0301"),
    ],
)  # fmt: skip
def test_an_amount_in_a_sentence_has_as_many_digits_as_it_needs_to_be_seen(amount, currency, written):
    assert Money(Decimal(amount), currency).plain() == written


@pytest.mark.parametrize(
    ("text", "decimals", "amount"),
    [
        ("2,000", 2, "2000"), ("2 000", 2, "2000"), ("2.000,00", 2, "2000"), ("2,000.5", 2, "2000.5"), ("2'000", 0, "2000"),
        ("2\u202f000,50", 2, "2000.5"), ("1.234.567", 2, "1234567"), ("0,5", 2, "0.5"), ("0.005", 12, "0.005"), ("-3", 2, "-3"),
        ("2000.", 2, "2000"), ("２０００", 2, "2000"),
        ("2.000", 2, None), ("2.000", 3, None), ("2,000", 3, None), ("2.000", 0, None), ("1,2,3", 2, None), ("20,00.00", 2, None),
        ("1e3", 2, None), ("", 2, None), ("EUR 5", 2, None), ("1.2.3", 2, None), (",5", 2, None), ("1 00", 2, None), ("1,000,00", 2, None),
    ],
)  # fmt: skip
def test_an_amount_is_read_one_way_or_asked(text: str, decimals: int, amount: str | None) -> None:
    if amount is None:
        with pytest.raises(ValueError, match=r"Write|do not fit|three digits"):
            read_amount(text, decimals=decimals)
    else:
        assert read_amount(text, decimals=decimals) == Decimal(amount)


@given(st.decimals(min_value=0, max_value=10**12, places=12))
def test_an_amount_that_a_form_shows_is_read_as_it_is(amount: Decimal) -> None:
    for decimals in (0, 2, 3, 12):
        assert read_amount(typed(amount), decimals=decimals) == amount
