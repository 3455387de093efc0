"""A sweep does every row that it can, and fails at its end."""

from itertools import count

import pytest

from tenants.isolation.sweeps import MOST_IN_A_ROW, SweepFailed, sweep

NAMES = (f"test {number}" for number in count())


def swept(rows: list[bool], name: str = "", most: int | None = None) -> tuple[list[int], type[Exception] | None]:
    """Sweep over rows of which some are bad; return the places of those tried, and what was raised."""
    tried = []
    try:
        with sweep(name or next(NAMES)) as each:
            for place in each.over(range(len(rows)), most):
                with each(row=place):
                    tried.append(place)
                    if not rows[place]:
                        raise LookupError
    except (SweepFailed, LookupError) as raised:
        return tried, type(raised)
    return tried, None


@pytest.mark.parametrize(
    ("rows", "tried", "raised"),
    [
        ([True, True], 2, None),
        ([False, True, False], 3, SweepFailed),
        ([False] * 100, MOST_IN_A_ROW, LookupError),
        (([False] * (MOST_IN_A_ROW - 1) + [True]) * 2, 2 * MOST_IN_A_ROW, SweepFailed),
    ],
)
def test_a_bad_row_holds_up_no_other_and_too_many_in_a_row_end_the_sweep(
    rows: list[bool], tried: int, raised: type[Exception] | None
) -> None:
    assert swept(rows) == (list(range(tried)), raised)


def test_a_sweep_begins_with_the_rows_that_the_last_one_did_not_reach() -> None:
    name, rows = next(NAMES), [False] * (2 * MOST_IN_A_ROW) + [True, True]
    first, second, third = (swept(rows, name)[0] for _ in range(3))
    assert first + second == list(range(2 * MOST_IN_A_ROW))
    assert third == [2 * MOST_IN_A_ROW, 2 * MOST_IN_A_ROW + 1, *range(MOST_IN_A_ROW)]
    assert swept([False] * 3, name) == ([2, 0, 1], SweepFailed), "fewer rows than there were"


def test_bad_rows_in_front_do_not_fill_a_sweep_with_a_limit() -> None:
    assert swept([True] * 5, most=3) == ([0, 1, 2], None)
    assert swept([False, False, False, True, True, True], most=2) == ([0, 1, 2, 3, 4], SweepFailed)
