"""Usage of a part of a unit: parts of one whole for the same time count and cost what the whole does."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from billing.metering.metering import fault_of, faults_of
from billing.metering.rate import rate
from billing.pricing.price_books import Terms
from billing.rating import quantity
from billing.rating.selection import PriceEntry, PriceList, PriceTable
from billing.usage.intervals import Interval, claims
from tests.support.examples import examples

METER, PROJECT = UUID(int=1), UUID(int=2)
EDGE = datetime(2028, 2, 29, 23, 50, tzinfo=UTC)
AMOUNTS = st.integers(0, 10**13).map(lambda pico: Decimal(pico).scaleb(-12))
# Ways to divide a whole: quarters, eighths and unequal ones.
WAYS = st.sampled_from([(500, 500), (250,) * 4, (125,) * 8, (500, 250, 125, 125), (200,) * 5])
MICRO = Decimal("0.000001")


def terms_at(*amounts: Decimal) -> Terms:
    """Return terms with one price list after the other, half an hour apart."""
    lists = []
    for number, amount in enumerate(amounts):
        entries = (PriceEntry(UUID(int=number), "seconds", {"class": "a"}, amount, None),)
        begins = EDGE + timedelta(minutes=30 * (number - 1))
        lists.append(PriceList(UUID(int=number), begins, "EUR", entries, {"seconds": PriceTable(entries)}))
    starts = [one.effective_at for one in lists]
    return Terms(
        "UTC", "EUR", EDGE + timedelta(days=1), {"seconds": METER}, frozenset({"seconds"}), lists, None, starts
    )


def usage(micros: int, share: int, key: str = "") -> Interval:
    end = EDGE + timedelta(microseconds=micros)
    dims = {"class": "a", **quantity.share_dims(share)}
    return Interval(key, "seconds", "job:1", PROJECT, EDGE, end, dims, source="compute", share=share)


def sums(intervals: Sequence[Interval], terms: Terms) -> tuple[Decimal, Decimal]:
    segments = rate(claims(intervals), terms)
    return sum((one.measured for one in segments), Decimal(0)), sum((one.amount for one in segments), Decimal(0))


@settings(max_examples=examples(300), deadline=None)
@given(micros=st.integers(1, 7_200_000_000), way=WAYS, first=AMOUNTS, second=AMOUNTS)
def test_parts_of_a_whole_for_the_same_time_count_and_cost_what_the_whole_does(
    micros: int, way: tuple[int, ...], first: Decimal, second: Decimal
) -> None:
    terms = terms_at(first, second)
    in_parts = sums([usage(micros, share, str(number)) for number, share in enumerate(way)], terms)
    whole = sums([usage(micros, quantity.WHOLE)], terms)
    assert in_parts[0] == whole[0]  # no second is lost or made
    assert abs(in_parts[1] - whole[1]) < MICRO / 1_000


def test_a_quarter_costs_a_quarter() -> None:
    terms = terms_at(Decimal("0.00005"))
    assert sums([usage(10_000_001, 250)], terms) == (Decimal("2.50000025"), Decimal("0.000125000012"))
    assert quantity.share_said(250) == "1/4" and quantity.share_dims(quantity.WHOLE) == {}


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"share": 0, "dims": {"share": "0"}}, "less than a whole"),
        ({"share": 1001, "dims": {"share": "1001/1000"}}, "less than a whole"),
        ({"share": 500, "dims": {}}, "does not say 1/2"),
        ({"share": 500, "dims": {"share": "1/4"}}, "does not say 1/2"),
    ],
)
def test_usage_of_a_part_says_so(wrong: dict[str, object], why: str) -> None:
    terms = terms_at(Decimal(1))
    item = replace(usage(1_000_000, 500), **wrong)  # type: ignore[arg-type]
    assert why in (fault_of(item, terms) or "")
    assert item.key in faults_of([item], terms)
    assert not faults_of([usage(1_000_000, 500), usage(1_000_000, quantity.WHOLE)], terms)


def test_a_count_has_no_part() -> None:
    terms = Terms("UTC", "EUR", EDGE, {"requests": METER}, frozenset(), [], None, [])
    item = replace(usage(1, 500), meter="requests", quantity=Decimal(3))
    assert "only time" in (fault_of(replace(item, end=EDGE + timedelta(microseconds=1)), terms) or "")
