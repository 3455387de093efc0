"""The baseline of a tabular model: inputs over the whole table, predictions over the rows not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_app.measures.baseline import baseline
from models_app.recipes.tabular.features import Feature, Floats, Strings
from models_app.recipes.tabular.table import Table

MOST_ROWS = 200_000
"""Of a longer table every n-th row is used: shares are as good, and the time stays bounded."""


def reference(
    features: Sequence[Feature], data: Table, outputs: NDArray[np.float64], *, mean: float, scale: float
) -> dict[str, Any]:
    """Return the baseline of a model's inputs and predictions; `outputs` [rows, outputs] are the network's."""
    step = -(-data.rows // MOST_ROWS)
    inputs = {feature.name: (feature.kind, _values(data.columns[feature.name], step)) for feature in features}
    classes = data.target.classes
    predicted = outputs.argmax(axis=1) if classes else outputs * scale + mean
    return baseline(inputs, -(-data.rows // step), classes=classes, predicted=predicted)


def _values(column: Floats | Strings, step: int) -> Floats | dict[str | None, int]:
    if not isinstance(column, Strings):
        return column[::step]
    counts = np.bincount(column.indices[::step] + 1, minlength=len(column.values) + 1).tolist()
    return {None: counts[0], **dict(zip(column.values, counts[1:], strict=True))}
