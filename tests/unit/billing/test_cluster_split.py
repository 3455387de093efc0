"""The cluster's bill is split to the minor unit: whatever the rule and the order, its columns add up to it."""

from __future__ import annotations

from decimal import Decimal
from fractions import Fraction
from random import Random
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.cluster.split import (
    COLUMNS,
    EVEN,
    GUARANTEED,
    HOUR_US,
    PLATFORM,
    PROPORTIONAL,
    RULES,
    Part,
    Row,
    Seconds,
    split,
)
from billing.money import Money

ONE, TWO, THREE = (UUID(int=n) for n in (1, 2, 3))
TIME = st.one_of(st.just(0), st.integers(0, 40 * HOUR_US))
PARTS = st.one_of(
    st.builds(
        Part,
        st.sampled_from(["cpu", "h200"]),
        st.sampled_from([ONE, TWO, THREE]),
        st.one_of(st.none(), st.decimals(0, 1_000, places=6)),
        st.builds(Seconds, used=TIME, idle=TIME, held=TIME),
    ),
    st.builds(
        Part,
        st.sampled_from(["cpu", "h200"]),
        st.none(),
        st.one_of(st.none(), st.decimals(0, 1_000, places=6)),
        st.builds(Seconds, free=TIME),
    ),
)
GUARANTEES = st.dictionaries(
    st.tuples(st.sampled_from(["cpu", "h200"]), st.sampled_from([ONE, TWO, THREE])), st.integers(0, 9)
)


def euros(text: str) -> Money:
    return Money(Decimal(text), "EUR")


def exact(parts: list[Part], column: str) -> Fraction:
    return sum((Fraction(one.per_hour or 0) * getattr(one.seconds, column) / HOUR_US for one in parts), Fraction())


@given(st.lists(PARTS, max_size=12), st.sampled_from(RULES), GUARANTEES, st.sampled_from(["EUR", "JPY"]), st.randoms())
def test_the_columns_add_up_to_the_bill_in_any_order(
    parts: list[Part], rule: str, guaranteed: dict[tuple[str, UUID], int], currency: str, choose: Random
) -> None:
    bill, rows = split(parts, rule, guaranteed, currency)
    minor = Fraction(1, 1 if currency == "JPY" else 100)
    sums = {name: sum((getattr(row, name) for row in rows), Money.zero(currency)) for name in (*COLUMNS, "total")}
    assert sum((sums[name] for name in COLUMNS), Money.zero(currency)) == bill == sums["total"]
    assert abs(Fraction(bill.amount) - sum(exact(parts, name) for name in COLUMNS)) <= minor / 2
    for name in COLUMNS:
        # Two columns of two classes: each is less than one minor unit away from what it is exactly, and the bill half of one.
        assert abs(Fraction(sums[name].amount) - exact(parts, name)) < 3 * minor
        assert all(getattr(row, name).amount >= 0 for row in rows)
        assert sum(getattr(row.seconds, name) for row in rows) == sum(getattr(one.seconds, name) for one in parts)
    unpriced = sum(one.seconds.capacity for one in parts if one.per_hour is None)
    assert sum(row.without_cost for row in rows) == unpriced
    choose.shuffle(parts)
    assert split(parts, rule, guaranteed, currency) == (bill, rows)


def of(rows: list[Row]) -> dict[UUID | None, tuple[Decimal, ...]]:
    return {row.bearer: tuple(getattr(row, name).amount for name in COLUMNS) for row in rows}


@pytest.mark.parametrize(
    ("rule", "shared"),
    [
        (PROPORTIONAL, {ONE: (Decimal("1.50"), Decimal("3.00")), TWO: (Decimal("0.50"), Decimal("1.00"))}),
        (EVEN, {ONE: (Decimal("1.00"), Decimal("2.00")), TWO: (Decimal("1.00"), Decimal("2.00"))}),
        (GUARANTEED, {TWO: (Decimal("0.67"), Decimal("1.33")), THREE: (Decimal("1.33"), Decimal("2.67"))}),
        (PLATFORM, {None: (Decimal("2.00"), Decimal("4.00"))}),
    ],
)
def test_each_bears_its_idle_time_and_a_rule_shares_the_rest(
    rule: str, shared: dict[UUID | None, tuple[Decimal, Decimal]]
) -> None:
    hour = Decimal("2.00")
    parts = [
        Part("cpu", ONE, hour, Seconds(used=1 * HOUR_US, idle=2 * HOUR_US, held=1 * HOUR_US)),
        Part("cpu", TWO, hour, Seconds(used=1 * HOUR_US)),
        Part("cpu", None, hour, Seconds(free=2 * HOUR_US)),
    ]
    bill, rows = split(parts, rule, {("cpu", TWO): 1, ("cpu", THREE): 2, ("h200", ONE): 7}, "EUR")
    own = {ONE: (Decimal("2.00"), Decimal("4.00")), TWO: (Decimal("2.00"), Decimal("0.00"))}
    nothing = (Decimal(0), Decimal(0))
    assert bill == euros("14.00")
    assert of(rows) == {
        bearer: (*own.get(bearer, nothing), *shared.get(bearer, nothing)) for bearer in {ONE, TWO, None, *shared}
    }
    assert rows[-1].bearer is None, "the platform's row is the last"


@pytest.mark.parametrize("rule", RULES)
def test_what_nobody_can_bear_stays_with_the_platform(rule: str) -> None:
    bill, rows = split([Part("cpu", None, Decimal(3), Seconds(free=HOUR_US))], rule, {}, "EUR")
    assert [(row.bearer, row.free) for row in rows] == [(None, bill)]
    assert bill == euros("3.00")


def test_a_rule_that_nobody_knows_is_refused() -> None:
    with pytest.raises(ValueError, match="whim"):
        split([], "whim", {}, "EUR")
