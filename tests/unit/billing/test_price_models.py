"""Price models of a period: their amounts, and the lines that adjust what usage was rated at."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.rating.billed.lines import Kind
from billing.rating.billed.price_models import Flat, Graduated, Package, Tier, Volume, amount, steps
from tests.support.billing.examples import ONE, REQUESTS, SECONDS, TWO, amounts, billed, euros, used
from tests.support.examples import examples

TIERS = (
    Tier(Decimal(100), Decimal("0.10")),
    Tier(Decimal(1000), Decimal("0.05"), Decimal(3)),
    Tier(None, Decimal("0.01")),
)
QUANTITIES = st.decimals(min_value=0, max_value=2000, places=6)


def tiered(model: str, **more: Any) -> dict[str, Any]:
    tiers = [
        {"up_to": "100", "unit_amount": "0.10"},
        {"up_to": "1000", "unit_amount": "0.05", "flat_amount": "3"},
        {"up_to": None, "unit_amount": "0.01"},
    ]
    return {
        "models": [{"key": "t", "meter": "seconds", "prices": [str(SECONDS)], "model": model, "tiers": tiers, **more}]
    }


@pytest.mark.parametrize(
    ("quantity", "graduated", "volume"),
    [
        ("0", "0", "0"), ("100", "10", "10"), ("100.000001", "13.00000005", "8.00000005"),
        ("1000", "58", "53"), ("1001", "58.01", "10.01"),
    ],
)  # fmt: skip
def test_a_tier_holds_the_units_up_to_and_including_its_end(quantity: str, graduated: str, volume: str) -> None:
    assert amount(Graduated(TIERS), Decimal(quantity)) == Decimal(graduated)
    assert amount(Volume(TIERS), Decimal(quantity)) == Decimal(volume)


def test_every_started_package_is_paid_and_a_flat_price_is_due_without_usage() -> None:
    package = Package(Decimal(50), Decimal("2.5"))
    assert [amount(package, Decimal(q)) for q in ("0", "0.000001", "50", "50.000001")] == [
        0,
        Decimal("2.5"),
        Decimal("2.5"),
        5,
    ]
    assert amount(Flat(Decimal(9)), Decimal(0)) == 9


def test_steps_explain_the_amount() -> None:
    found = [(step.quantity, step.unit_amount, step.amount) for step in steps(Graduated(TIERS), Decimal(150))]
    assert found == [(100, Decimal("0.10"), 10), (50, Decimal("0.05"), Decimal("5.5"))]


@settings(max_examples=examples(2_000), deadline=None)
@given(QUANTITIES, QUANTITIES)
def test_more_units_never_cost_less_within_a_tier_or_graduated_or_in_packages(one: Decimal, other: Decimal) -> None:
    less, more = sorted((one, other))
    for model in (Graduated(TIERS), Package(Decimal(7), Decimal("0.3"))):
        assert amount(model, less) <= amount(model, more)
    # Volume gets cheaper where a tier begins: that is what it is for.
    if steps(Volume(TIERS), less)[-1:] and steps(Volume(TIERS), less)[0].up_to == steps(Volume(TIERS), more)[0].up_to:
        assert amount(Volume(TIERS), less) <= amount(Volume(TIERS), more)


def test_a_model_replaces_what_the_usage_of_all_projects_was_rated_at() -> None:
    made = billed([used("a", "90", "0.10"), used("b", "60", "0.10", project=TWO)], tiered("graduated"))
    assert amounts(made, Kind.USAGE) == ["9.00", "6.00"]
    # 100 at 0.10, 50 at 0.05 and 3.00 for entering the second tier: 15.50 instead of 15.00, by quantity.
    assert [(line.project_id, f"{line.amount.amount}") for line in made.lines[2:]] == [(ONE, "0.30"), (TWO, "0.20")]
    assert made.total == euros("15.5")


def test_included_units_are_free_and_no_project_falls_below_zero() -> None:
    terms = tiered("per_unit", included="70")
    del terms["models"][0]["tiers"]
    made = billed([used("a", "90", "0.10"), used("b", "60", "0.10", project=TWO)], terms)
    assert amounts(made, Kind.MODEL) == ["-4.20", "-2.80"]
    assert made.total == euros("8")


def test_a_flat_price_comes_to_its_amount_whatever_its_usage_was_rounded_to() -> None:
    flat = {"models": [{"key": "f", "meter": "seconds", "prices": [str(SECONDS)], "model": "flat", "amount": "100"}]}
    made = billed([used(str(n), "33.333333", "0.1001", project=UUID(int=n)) for n in range(1, 8)], flat)
    assert made.total == euros("100")
    assert billed([], flat).lines[0].project_id is None
    assert billed([], flat).total == euros("100")


def test_late_usage_costs_what_it_was_rated_at_and_fills_no_tier() -> None:
    late = used("late", "500", "0.10", origin=date(2026, 9, 1))
    made = billed([used("a", "90", "0.10"), late], tiered("volume"))
    assert made.total == euros("59")


def test_other_prices_keep_their_amount() -> None:
    made = billed([used("a", "10", price=REQUESTS)], tiered("volume"))
    assert (made.total, len(made.lines)) == (euros("10"), 1)


def test_a_model_of_another_meter_than_its_usage_is_refused() -> None:
    terms = tiered("volume")
    terms["models"][0]["meter"] = "requests"
    with pytest.raises(ValueError, match="belongs to seconds"):
        billed([used("a", "1")], terms)
