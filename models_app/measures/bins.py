"""Assign values to the bins of a baseline. Pure Python: web, runner and serving node count the same way.

A feature of a baseline is `{"kind": "numeric", "source", "edges", "counts", "typical"}` with the bins `(-inf, e0) [e0,
e1) ... [ek, inf) missing`, or `{"kind": "categorical", "values", "counts", "typical"}` with one bin per value, then
`other`, then `missing`; predictions of a classifier have the kind `classes` and the bins of `categorical`. Every value
falls into exactly one bin. `source` states how texts are parsed: numeric, boolean or datetime.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

Feature = Mapping[str, Any]

YES = frozenset({"true", "yes", "t", "y", "1"})
NO = frozenset({"false", "no", "f", "n", "0"})


def size(feature: Feature) -> int:
    """Return the number of bins of a feature, including `missing`."""
    return len(feature["edges"]) + 2 if feature["kind"] == "numeric" else len(feature["values"]) + 2


def bin_index(feature: Feature, value: Any) -> int:
    """Return the bin of one value; values not parsable as the feature's kind count as missing."""
    if feature["kind"] == "numeric":
        number = as_number(value, feature.get("source", "numeric"))
        return size(feature) - 1 if number is None else bisect_right(feature["edges"], number)
    if absent(value):
        return size(feature) - 1
    text = as_word(value)
    values = feature["values"]
    return values.index(text) if text in values else len(values)


def count(feature: Feature, values: Iterable[Any]) -> list[int]:
    """Return how many of the values fall into each bin."""
    counts = [0] * size(feature)
    last = len(counts) - 1
    if feature["kind"] == "numeric":
        edges, source = feature["edges"], feature.get("source", "numeric")
        for value in values:
            number = value if type(value) is float else as_number(value, source)
            counts[last if number is None or number != number else bisect_right(edges, number)] += 1
        return counts
    places = {text: at for at, text in enumerate(feature["values"])}
    other = last - 1
    for value in values:
        counts[last if absent(value) else places.get(as_word(value), other)] += 1
    return counts


def check(baseline: Mapping[str, Any]) -> None:
    """Raise ValueError unless this is a valid baseline: ordered edges or texts, and a count for each bin."""
    features = baseline.get("features")
    if baseline.get("format") != 1 or not isinstance(features, dict):
        raise ValueError("the baseline is of no known format")
    for feature in (*features.values(), baseline.get("output")):
        if not isinstance(feature, dict) or feature.get("kind") not in ("numeric", "categorical", "classes"):
            raise ValueError("a feature of the baseline has no known kind")
        edges, values, counts = (feature.get(name, []) for name in ("edges", "values", "counts"))
        sound = all(isinstance(part, list) for part in (edges, values, counts))
        sound = sound and all(isinstance(edge, int | float) for edge in edges) and edges == sorted(set(edges))
        sound = sound and all(isinstance(value, str) for value in values) and len(values) == len(set(values))
        sound = sound and all(type(number) is int and number >= 0 for number in counts)
        if not sound or len(counts) != (len(edges) if feature["kind"] == "numeric" else len(values)) + 2:
            raise ValueError("the bins and counts of a feature of the baseline do not fit")


def names(feature: Feature) -> list[str]:
    """Return the label of each bin, in the order of its counts."""
    if feature["kind"] != "numeric":
        return [*map(str, feature["values"]), "other", "missing"]
    source = feature.get("source", "numeric")
    if source == "boolean":
        return ["false", "true", "missing"]
    edges = [_edge(edge, source) for edge in feature["edges"]]
    if not edges:
        return ["any", "missing"]
    between = [f"{low} to {high}" for low, high in pairwise(edges)]
    return [f"below {edges[0]}", *between, f"from {edges[-1]}", "missing"]


def add(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """Return the sum bin by bin; the longer one keeps its tail, so that an empty list adds nothing."""
    if len(one) < len(other):
        one, other = other, one
    return [value + (other[at] if at < len(other) else 0) for at, value in enumerate(one)]


def absent(value: Any) -> bool:
    """Return whether a value is missing."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def as_word(value: Any) -> str:
    """Return a category as recipes write it: `true` and `false`, bytes as text, whole floats without a decimal point."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value)


def as_number(value: Any, source: str = "numeric") -> float | None:
    """Return a value as a number, dates as seconds since 1970; None if it is missing or cannot be parsed."""
    if absent(value):
        return None
    try:
        if isinstance(value, bytes):
            value = value.decode("utf-8")
        if isinstance(value, str) and source == "boolean":
            word = value.strip().lower()
            return 1.0 if word in YES else 0.0 if word in NO else None
        if isinstance(value, str) and source == "datetime":
            moment = datetime.fromisoformat(value)
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if math.isnan(number) else number


def _edge(value: float, source: str) -> str:
    if source == "datetime":
        try:
            return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d")
        except (OverflowError, ValueError, OSError):
            return "?"
    return f"{value:.4g}"
