"""Counting by bin with NumPy, for the runner and the serving node. Same results as `bins.count`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from models_app.measures import bins


def count(feature: bins.Feature, values: Iterable[Any]) -> list[int]:
    """Return the number of values in each bin; numeric arrays are vectorised, everything else uses `bins.count`."""
    if feature["kind"] != "numeric" or not isinstance(values, np.ndarray) or values.dtype.kind not in "fiub":
        return bins.count(feature, values.tolist() if isinstance(values, np.ndarray) else values)
    numbers = values.astype(np.float64, copy=False).reshape(-1)
    known = numbers[~np.isnan(numbers)]
    places = np.searchsorted(np.asarray(feature["edges"], dtype=np.float64), known, side="right")
    counts = np.bincount(places, minlength=bins.size(feature) - 1)
    return [*counts.tolist(), int(numbers.size - known.size)]
