"""What a series of readings counts. Pure: the pieces depend on the set of readings, not on their order or batches.

A meter that sums or counts takes each event by itself. Of the others the readings of one series decide together: the
names are those of Lago and OpenMeter.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

from billing.money import EXACT, computed
from billing.rating.quantity import MICROSECOND

SUM, COUNT, MAX, UNIQUE, LATEST, TIME_WEIGHTED = "sum", "count", "max", "unique", "latest", "time_weighted"
AGGREGATIONS = (SUM, COUNT, MAX, UNIQUE, LATEST, TIME_WEIGHTED)
OF_READINGS = frozenset({MAX, UNIQUE, LATEST, TIME_WEIGHTED})
"""Aggregations whose events are readings: what one counts depends on the others of its series."""
COUNTS = {
    COUNT: "number of events",
    MAX: "highest of the month",
    UNIQUE: "different labels in the month",
    LATEST: "last of the month",
    TIME_WEIGHTED: "value × hours",
}
"""What a quantity is, in words for a customer; nothing for a sum."""
HOW = {
    COUNT: "Each event counts as 1.",
    MAX: "The highest reading of the month counts, for each resource and its dimensions. A higher reading takes the place of the one before, which is taken back below.",
    UNIQUE: "Each label counts once a month, for each resource and its dimensions, at its first reading.",
    LATEST: "The last reading of the month counts, for each resource and its dimensions. A later reading takes the place of the one before, which is taken back below.",
    TIME_WEIGHTED: "Each value is charged for the hours that it lasts, until the next reading of the resource. The last value is charged up to the last full hour.",
}
"""The same in full, for the explanation of a line."""
MICROSECONDS_IN_HOUR = Decimal(3_600_000_000)
ONE = Decimal(1)


@dataclass(frozen=True, slots=True)
class Reading:
    """One value of a series at a moment; `label` is what a unique meter counts once. `key` is its own and breaks ties."""

    key: bytes
    at: datetime
    value: Decimal
    label: str = ""


@dataclass(frozen=True, slots=True)
class Piece:
    """What one reading counts in `[start, end)`; one that counts at its moment ends a microsecond later."""

    key: bytes
    start: datetime
    end: datetime
    quantity: Decimal


def pieces(
    aggregation: str, readings: Iterable[Reading], until: datetime | None = None, cuts: Sequence[datetime] = ()
) -> set[Piece]:
    """Return what the readings of one series count together; for all but `time_weighted` they are those of one month.

    `max` and `latest` count one reading in full, `unique` each label's first reading as 1. `time_weighted` counts
    value-hours: a value lasts until the next reading, the last one until `until`; `cuts`, in order, divide these spans.
    Of readings at the same moment the highest value is the last. What is 0 has no piece.
    """
    found = sorted(readings, key=lambda one: (one.at, one.value, one.key))
    if not found:
        return set()
    if aggregation == TIME_WEIGHTED:
        return _spans(found, until, cuts)
    if aggregation == MAX:
        winners = [min(found, key=lambda one: (-one.value, one.at, one.key))]
    elif aggregation == LATEST:
        winners = [found[-1]]
    elif aggregation == UNIQUE:
        first: dict[str, Reading] = {}
        for one in found:
            first.setdefault(one.label, one)
        return {Piece(one.key, one.at, one.at + MICROSECOND, ONE) for one in first.values()}
    else:
        raise ValueError(f"{aggregation} takes each event by itself")
    return {Piece(one.key, one.at, one.at + MICROSECOND, one.value) for one in winners if one.value}


def value_hours(value: Decimal, start: datetime, end: datetime) -> Decimal:
    """Return the hours of `[start, end)` times the value, with twelve decimals."""
    microseconds = Decimal((end - start) // MICROSECOND)
    return computed(EXACT.divide(EXACT.multiply(value, microseconds), MICROSECONDS_IN_HOUR))


def _spans(found: Sequence[Reading], until: datetime | None, cuts: Sequence[datetime]) -> set[Piece]:
    result = set()
    ends = [one.at for one in found[1:]] + [until]
    for one, end in zip(found, ends, strict=True):
        if end is None or end <= one.at or not one.value:
            continue
        inside = cuts[bisect_right(cuts, one.at) :]
        edges = [one.at, *[cut for cut in inside if cut < end], end]
        counted = Decimal(0)
        for start, stop in pairwise(edges):
            # Of the sum so far: the parts of a span add up to it, however it is cut.
            upto = value_hours(one.value, one.at, stop)
            if upto > counted:
                result.add(Piece(one.key, start, stop, upto - counted))
            counted = upto
    return result
