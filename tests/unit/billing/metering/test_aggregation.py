"""What series of readings count, against a computation that walks microseconds' values instead of pieces."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.rating.aggregation import LATEST, MAX, TIME_WEIGHTED, UNIQUE, Piece, Reading, pieces, value_hours
from billing.reported.cloudevents import EventRefused
from billing.reported.readings.arriving import arrival, split

BEGIN = datetime(2027, 3, 1, tzinfo=UTC)
LABELS = st.sampled_from(["anna", "ben", "Anna", ""])
VALUES = st.decimals(min_value=0, max_value=10**12, places=6) | st.sampled_from([Decimal(0), Decimal(5)])
# Few moments, so that many readings share one.
MOMENTS = st.integers(min_value=0, max_value=40).map(lambda n: BEGIN + timedelta(hours=n)) | st.integers(
    min_value=0, max_value=40 * 3_600_000_000
).map(lambda n: BEGIN + timedelta(microseconds=n))
READINGS = st.lists(st.tuples(MOMENTS, VALUES, LABELS), max_size=12).map(
    lambda rows: [Reading(bytes([number]) * 16, *row) for number, row in enumerate(rows)]
)
UNTIL = BEGIN + timedelta(hours=48)


def total(found: set[Piece]) -> Decimal:
    return sum((piece.quantity for piece in found), Decimal(0))


def naive(kind: str, readings: list[Reading]) -> Fraction:
    """Return what a series counts by the words of the documentation, with fractions and without pieces."""
    if kind == MAX:
        return Fraction(max((one.value for one in readings), default=Decimal(0)))
    if kind == UNIQUE:
        return Fraction(len({one.label for one in readings}))
    if kind == LATEST:
        last = max((one.at for one in readings), default=BEGIN)
        return Fraction(max((one.value for one in readings if one.at == last), default=Decimal(0)))
    moments = sorted({one.at for one in readings})
    hours = Fraction(0)
    for at, end in zip(moments, [*moments[1:], UNTIL], strict=True) if moments else ():
        value = max(one.value for one in readings if one.at == at)
        hours += Fraction(value) * Fraction((end - at) // timedelta(microseconds=1), 3_600_000_000)
    return hours


@given(READINGS, st.randoms(use_true_random=False), st.sampled_from([MAX, UNIQUE, LATEST, TIME_WEIGHTED]))
def test_b65_a_series_counts_what_its_readings_say_in_whatever_order_they_are(
    readings: list[Reading], random: Random, kind: str
) -> None:
    shuffled = random.sample(readings, len(readings))
    found = pieces(kind, shuffled, UNTIL)
    assert found == pieces(kind, readings, UNTIL)
    # Each span is rounded once, at the twelfth decimal.
    assert abs(Fraction(total(found)) - naive(kind, readings)) <= Fraction(len(readings), 10**12)
    if kind != TIME_WEIGHTED:
        assert Fraction(total(found)) == naive(kind, readings)
    assert len({(piece.key, piece.start) for piece in found}) == len(found)
    assert all(piece.quantity > 0 and piece.end > piece.start for piece in found)


@given(READINGS, st.sets(MOMENTS, max_size=6))
def test_b65_where_spans_are_cut_changes_no_total_and_none_overlap(
    readings: list[Reading], cuts: set[datetime]
) -> None:
    found = pieces(TIME_WEIGHTED, readings, UNTIL, sorted(cuts))
    whole = pieces(TIME_WEIGHTED, readings, UNTIL)
    for key in {piece.key for piece in whole}:
        assert total({one for one in found if one.key == key}) == total({one for one in whole if one.key == key})
    spans = sorted((piece.start, piece.end) for piece in found)
    assert all(end <= start for (_, end), (start, _) in pairwise(spans))
    assert not any(start < cut < end for start, end in spans for cut in cuts)


@given(READINGS, st.data())
def test_b65_a_change_touches_only_what_lies_between_its_neighbours(
    readings: list[Reading], data: st.DataObject
) -> None:
    """The look-up reads a part of a series only: from the last reading before a change to the first one after it."""
    changed = [one for one in readings if data.draw(st.booleans())]
    kept = [one for one in readings if one not in changed]
    if not changed:
        return
    first, last = min(one.at for one in changed), max(one.at for one in changed)
    since = max((one.at for one in kept if one.at < first), default=first)
    until = min((one.at for one in kept if one.at > last), default=None)
    inside = [one for one in readings if since <= one.at and (until is None or one.at <= until)]
    end = None if until else UNTIL
    before, after = pieces(TIME_WEIGHTED, kept, UNTIL), pieces(TIME_WEIGHTED, readings, UNTIL)

    def within(found: set[Piece]) -> set[Piece]:
        return {piece for piece in found if since <= piece.start and (until is None or piece.start < until)}

    assert within(after) == pieces(TIME_WEIGHTED, inside, end)
    assert before - within(before) == after - within(after)


def test_value_hours_are_exact_to_the_twelfth_decimal() -> None:
    assert value_hours(Decimal(3), BEGIN, BEGIN + timedelta(minutes=20)) == 1
    assert value_hours(Decimal("0.1"), BEGIN, BEGIN + timedelta(seconds=1)) == Decimal("0.000027777778")
    assert value_hours(Decimal(10**12), BEGIN, BEGIN + timedelta(days=366)) == Decimal(8784 * 10**12)


def event(kind: str, **data: object) -> dict[str, object]:
    return {"specversion": "1.0", "id": "1", "source": "s", "type": kind, "subject": "r", "data": data}


def test_readings_leave_a_batch_before_usage_is_parsed() -> None:
    sent = [event("seats", quantity=3), event("calls"), event("bytes", quantity=7), "junk", {"type": ["seats"]}]
    alone, readings = split(sent, {"seats": MAX, "calls": "count"})
    assert readings == {0: (sent[0], MAX)}
    assert alone[1]["data"] == {"quantity": 1}
    assert {number: alone[number] for number in (2, 3, 4)} == {2: sent[2], 3: "junk", 4: {"type": ["seats"]}}
    assert split(sent, {}) == (dict(enumerate(sent)), {})


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        (MAX, {}, "must be a number"),
        (MAX, {"quantity": True}, "must be a number"),
        (LATEST, {"quantity": -1}, "not below 0"),
        (LATEST, {"quantity": "1e999"}, "10^12"),
        (TIME_WEIGHTED, {"quantity": "0.0000001"}, "six decimals"),
        (UNIQUE, {"quantity": 4}, "data.label"),
        (UNIQUE, {"label": "x" * 201}, "at most 200"),
        (UNIQUE, {"label": {"a": 1}}, "data.label"),
    ],
)
def test_a_bad_reading_is_refused_with_the_reason(kind: str, data: dict[str, object], said: str) -> None:
    with pytest.raises(EventRefused, match=said.replace("^", r"\^")):
        arrival(event("m", **data), kind)


def test_a_reading_has_its_value_or_its_label_and_a_zero_is_one_too() -> None:
    zero = arrival(event("m", quantity="0.000", zone="a"), TIME_WEIGHTED)
    assert (zero.value, zero.label, zero.event.dims) == (0, "", {"zone": "a"})
    user = arrival(event("m", label=17, quantity=9), UNIQUE)
    assert (user.value, user.label, user.event.dims) == (1, "17", {})
    contents = {arrival(event("m", label=label), UNIQUE).content for label in ("a", "b")}
    assert len(contents) == 2
