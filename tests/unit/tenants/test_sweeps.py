"""A sweep does every row that it can, and fails at its end."""

import pytest

from tenants.isolation.sweeps import MOST_IN_A_ROW, SweepFailed, sweep


def swept(rows: list[bool]) -> tuple[list[int], type[Exception] | None]:
    """Sweep over rows of which some are bad; return the places of those tried, and what was raised."""
    tried = []
    try:
        with sweep("tests") as each:
            for place, good in enumerate(rows):
                with each(row=place):
                    tried.append(place)
                    if not good:
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
