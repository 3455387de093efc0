"""Price lists in another currency: each has one rate, changes where the rate does, and lacks its prices without one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from billing.pricing.price_books import point_in
from billing.rating.exchange import Rate, converted, rate_at
from billing.rating.flat import charge
from billing.rating.selection import PriceEntry, PriceList, PriceTable, in_force

START = datetime(2026, 10, 1, tzinfo=UTC)
HOURS = st.integers(0, 40)


def listed(number: int, hour: int, currency: str) -> PriceList:
    entry = PriceEntry(UUID(int=number), "tokens", {}, Decimal("0.000000123457"), Decimal("0.000000200001"))
    return PriceList(UUID(int=number), START + timedelta(hours=hour), currency, tables={"tokens": PriceTable([entry])})


def rate(number: int, hour: int, value: str, source: str = "USD") -> Rate:
    return Rate(UUID(int=900 + number), source, Decimal(value), START + timedelta(hours=hour))


@given(
    lists=st.lists(st.tuples(HOURS, st.sampled_from(["EUR", "USD", "JPY"])), min_size=1, max_size=6),
    rates=st.lists(st.tuples(HOURS, st.sampled_from(["USD", "JPY"])), max_size=6, unique=True),
    hour=HOURS,
)
def test_at_each_moment_the_list_and_the_rate_in_force_apply(
    lists: list[tuple[int, str]], rates: list[tuple[int, str]], hour: int
) -> None:
    books = [listed(number, at, currency) for number, (at, currency) in enumerate(lists, 1)]
    known = [rate(number, at, f"0.{number + 1}1", source) for number, (at, source) in enumerate(rates)]
    moment = START + timedelta(hours=hour)
    before, after = in_force(books, moment), in_force(converted(books, known, "EUR"), moment)
    if before is None:
        assert after is None
        return
    assert after is not None
    expected = rate_at(known, before.currency, moment)
    assert (after.version_id, after.currency) == (before.version_id, "EUR")
    if before.currency == "EUR":
        assert (after.rate, after.lacks) == (None, "")
    elif expected is None:
        assert (after.lacks, after.tables) == (before.currency, {})
    else:
        assert (after.rate, after.rate_id, after.lacks) == (expected.value, expected.id, "")


def test_a_converted_price_is_rounded_once_with_its_quantity() -> None:
    lists = converted([listed(1, 0, "USD")], [rate(1, 0, "0.912345678901")], "EUR")
    point = point_in(lists, "tokens", {}, START)
    assert point is not None
    assert point.list_amount is not None
    assert (point.currency, point.rate_id) == ("EUR", UUID(int=901))
    # Rounded at the price, two thousand million tokens would be off by half a thousandth.
    exact = Decimal("0.000000123457") * Decimal("0.912345678901")
    assert point.unit_amount == exact
    assert charge(Decimal(2_000_000_000), point.unit_amount) == (exact * 2_000_000_000).quantize(Decimal("1e-12"))
    assert point.list_amount > point.unit_amount
    assert point_in(converted([listed(1, 0, "USD")], [rate(1, 1, "2")], "EUR"), "tokens", {}, START) is None
