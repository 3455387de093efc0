"""What stands out in a month beside the one before."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rating.flags import (
    CHANGED,
    GONE,
    LATE,
    MOST_FLAGS,
    NEGATIVE,
    NEW,
    NOTHING,
    SEVERITY,
    UNPRICED,
    Flag,
    Item,
    flags,
    per_cent,
    severity,
)

ONE, TWO = UUID(int=1), UUID(int=2)


def item(amount: str, meter: str = "seconds", project: UUID = ONE, **more: bool) -> Item:
    return Item(project, meter, Decimal(amount), Decimal(1), **more)


def found(now: list[Item], before: list[Item]) -> list[Flag]:
    totals = [sum((one.amount for one in items), Decimal(0)) for items in (now, before)]
    return flags(now, before, totals[0], totals[1] if before else None)


def test_the_same_month_again_has_no_flag() -> None:
    month = [item("10"), item("5", project=TWO), item("1", "requests")]
    assert found(month, month) == []
    assert found([item("10")], []) == []
    assert found([], []) == []


@pytest.mark.parametrize(
    ("now", "flagged"), [("13", False), ("13.01", True), ("7", False), ("6.99", True), ("0", True), ("10", False)]
)
def test_a_change_of_more_than_thirty_per_cent_is_flagged(now: str, flagged: bool) -> None:
    names = [one.flag for one in found([item(now), item("1", "other")], [item("10"), item("1", "other")])]
    assert names == ([CHANGED] if flagged else [])


def test_a_project_is_flagged_though_the_sum_of_its_meter_stays() -> None:
    before, now = [item("10"), item("10", project=TWO)], [item("4"), item("16", project=TWO)]
    assert [(one.project, one.before, one.now) for one in found(now, before)] == [(ONE, 10, 4), (TWO, 10, 16)]


def test_meters_that_come_and_go_are_flagged() -> None:
    listed = found([item("5", "new")], [item("4", "old")])
    assert [(one.flag, one.meter, one.before, one.now) for one in listed] == [
        (GONE, "old", Decimal(4), Decimal(0)),
        (NEW, "new", Decimal(0), Decimal(5)),
    ]


def test_late_negative_and_unpriced_lines_are_flagged_and_compared_with_nothing() -> None:
    month = [item("10")]
    listed = found([*month, item("-3", late=True), item("0", "storage", unpriced=True)], [*month, item("0", "storage")])
    assert [one.flag for one in listed] == [UNPRICED, NEGATIVE, LATE]
    assert found([*month, item("-1", agreed=True)], month) == [], "a discount is below zero as agreed"
    assert flags([Item(ONE, "storage", Decimal(0), unpriced=True)], [], Decimal(0), None) == []


def test_nothing_billed_is_the_worst() -> None:
    listed = found([], [item("8")])
    assert [one.flag for one in listed] == [NOTHING, GONE]
    assert listed[0].stored() == {"flag": NOTHING, "meter": "", "project": None, "before": "8", "now": "0"}
    assert severity(listed) == SEVERITY[NOTHING] * 100 + 2
    assert severity([]) == 0


ITEMS = st.lists(
    st.builds(
        Item,
        project=st.sampled_from([ONE, TWO]),
        meter=st.sampled_from(["a", "b", "c"]),
        amount=st.decimals(-1000, 1000, places=2),
        measured=st.just(Decimal(1)),
        late=st.booleans(),
        unpriced=st.booleans(),
    ),
    max_size=12,
)


@given(now=ITEMS, before=ITEMS)
def test_the_order_of_lines_is_no_matter_and_the_worst_come_first(now: list[Item], before: list[Item]) -> None:
    listed = found(now, before)
    assert listed == found(now[::-1], before[::-1])
    assert [SEVERITY[one.flag] for one in listed] == sorted((SEVERITY[one.flag] for one in listed), reverse=True)
    assert len(listed) <= MOST_FLAGS


def test_the_difference_is_in_per_cent_of_what_was_there_before() -> None:
    assert per_cent(Decimal("138.04"), Decimal(100)) == Decimal("38.04")
    assert per_cent(Decimal(50), Decimal(-100)) == Decimal(150)
    assert per_cent(Decimal(5), None) is None
    assert per_cent(Decimal(5), Decimal(0)) is None
