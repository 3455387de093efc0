"""Metrics on a version's page: overall, per class, and feature importance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from models_app.recipes.tabular.per_class import by_class

MOST_CLASSES = 20


@dataclass(frozen=True)
class InputRow:
    """One input.

    `drop`: how much the metric loses when its values are shuffled, None if not measured; `share` of the largest.
    """

    name: str
    kind: str
    drop: float | None
    share: float


@dataclass(frozen=True)
class Importance:
    """How importance was measured; `figure` is accuracy or r2."""

    figure: str
    rows: int
    repeats: int
    not_measured: int


def single(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Return the scalar metrics."""
    return {
        name: value for name, value in metrics.items() if isinstance(value, int | float) and not isinstance(value, bool)
    }


def classes(metrics: Mapping[str, Any], labels: Sequence[Any]) -> dict[str, Any] | None:
    """Return the confusion matrix and recall, precision, F1 and support of each class; None for a regressor.

    `matrix` is empty if there are more classes than a page can show.
    """
    matrix = metrics.get("confusion")
    if not isinstance(matrix, list) or not matrix:
        return None
    names = [str(label) for label in labels] or [str(at) for at in range(len(matrix))]
    return {
        "each": list(zip(names, by_class(matrix), strict=False)),
        "labels": names,
        "matrix": list(zip(names, matrix, strict=False)) if len(matrix) <= MOST_CLASSES else [],
    }


def inputs(metrics: Mapping[str, Any], signature: Mapping[str, Any]) -> tuple[list[InputRow], Importance | None]:
    """Return the inputs by descending importance, and how it was measured; None if it was not."""
    found = metrics.get("importance")
    drops: dict[str, float] = {one["name"]: float(one["drop"]) for one in found["columns"]} if found else {}
    largest = max([*drops.values(), 1e-9])
    rows = [
        InputRow(
            name=str(one["name"]),
            kind=str(one.get("kind", "")),
            drop=drops.get(one["name"]),
            share=max(0.0, drops.get(one["name"], 0.0)) / largest,
        )
        for one in signature.get("inputs", [])
    ]
    rows.sort(key=lambda row: -row.drop if row.drop is not None else 1.0)
    if not found:
        return rows, None
    return rows, Importance(found["figure"], found["rows"], found["repeats"], found.get("not_measured", 0))
