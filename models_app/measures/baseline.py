"""The baseline: the distribution of each input and of the predictions, stored with the version.

The runner computes it at the end of training; traffic is compared with it (`drift`). NumPy, no ORM.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_app.measures import numpy_bins

FORMAT = 1
ROWS_A_BIN = 130
FEWEST_BINS, MOST_BINS = 3, 6
MOST_CATEGORIES = 12
LEAST_SHARE = 0.01
LONGEST_CATEGORY = 200
HEAVY_SHARE = 0.05
NEAR = 0.25
"""Half-width of the bin of a frequent value, in standard deviations: wide enough for rounding, narrow enough that a
shift of a whole deviation leaves the bin."""


def baseline(
    inputs: Mapping[str, tuple[str, Any]],
    rows: int,
    *,
    classes: Sequence[Any] = (),
    predicted: NDArray[Any],
) -> dict[str, Any]:
    """Return the baseline as JSON.

    `inputs`: column -> (kind, float64 array with NaN for missing | rows of each text, None for missing). `predicted`:
    predictions for rows not trained on: class indices if there are `classes`, else numbers.
    """
    return {
        "format": FORMAT,
        "rows": rows,
        "features": {
            name: categorical(values) if kind == "categorical" else numeric(values, kind)
            for name, (kind, values) in inputs.items()
        },
        "output": _classes(classes, predicted) if len(classes) else numeric(predicted, "numeric"),
    }


def numeric(values: NDArray[np.float64], source: str) -> dict[str, Any]:
    """Return bins of roughly equal count for a column of numbers, with its counts and its typical (median) value."""
    known = values[np.isfinite(values)].astype(np.float64)
    edges = [0.5] if source == "boolean" else _edges(known)
    feature: dict[str, Any] = {"kind": "numeric", "source": source, "edges": edges}
    feature["counts"] = numpy_bins.count(feature, values)
    feature["typical"] = _typical(known, source)
    return feature


def categorical(found: Mapping[str | None, int]) -> dict[str, Any]:
    """Return a bin for each frequent category, one for all others and one for missing, from the rows of each text."""
    known = {value: number for value, number in found.items() if value is not None and number}
    order = sorted(known, key=lambda value: (-known[value], value))
    rows = sum(known.values())
    kept = [v for v in order if known[v] >= LEAST_SHARE * rows and len(v) <= LONGEST_CATEGORY][:MOST_CATEGORIES]
    counts = [known[value] for value in kept]
    typical = kept[0] if kept else None
    others = [rows - sum(counts), found.get(None, 0)]
    return {"kind": "categorical", "values": kept, "counts": [*counts, *others], "typical": typical}


def _classes(classes: Sequence[Any], predicted: NDArray[Any]) -> dict[str, Any]:
    """Return one bin per class. Predictions are always one of them, so `other` and `missing` stay empty."""
    counts = np.bincount(predicted.astype(np.int64), minlength=len(classes)).tolist()
    words = [("true" if value else "false") if isinstance(value, bool) else str(value) for value in classes]
    return {"kind": "classes", "values": words, "counts": [*counts, 0, 0]}


def _edges(known: NDArray[np.float64]) -> list[float]:
    """Return the edges between bins of roughly equal count; a value that many rows share has its own bin.

    An edge lies between two values that occur, close to the lower one: a column with nearly one value, shifted a
    little, must not stay in its bin.
    """
    if not known.size:
        return []
    values, counts = np.unique(known, return_counts=True)
    wanted = min(MOST_BINS, max(FEWEST_BINS, known.size // ROWS_A_BIN))
    least = known.size / wanted
    near = NEAR * float(known.std()) or max(abs(float(values[0])), 1.0) * 1e-6
    edges: list[float] = []
    if counts[0] >= HEAVY_SHARE * known.size:
        edges.append(float(values[0]) - near)
    inside = 0
    for at in range(len(values) - 1):
        inside += int(counts[at])
        heavy_next = counts[at + 1] >= least
        if inside >= least or (heavy_next and inside >= HEAVY_SHARE * known.size):
            gap = float(values[at + 1] - values[at])
            edges.append(float(values[at]) + min(gap / 2, near))
            inside = 0
    if counts[-1] >= HEAVY_SHARE * known.size:
        edges.append(float(values[-1]) + near)
    return sorted({edge for edge in edges if math.isfinite(edge)})


def _typical(known: NDArray[np.float64], source: str) -> Any:
    if not known.size:
        return None
    middle = float(np.sort(known)[(known.size - 1) // 2])
    if source == "boolean":
        return bool(known.mean() >= 0.5)
    if source == "datetime":
        try:
            return datetime.fromtimestamp(middle, UTC).replace(tzinfo=None).isoformat(timespec="seconds")
        except (OverflowError, ValueError, OSError):  # a column may hold years outside the range of Python's dates
            return None
    return int(middle) if middle.is_integer() and abs(middle) < 2**53 else middle
