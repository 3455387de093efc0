"""Recall, precision and F1 of each class, from a confusion matrix. Plain Python: pages compute them for old versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def by_class(confusion: Sequence[Sequence[int]]) -> list[dict[str, Any]]:
    """Return support, recall, precision and F1 of each class; rows of the matrix are true classes.

    `recall` is None for a class without rows, `precision` for one never predicted, `f1` if either is.
    """
    found = []
    for at, row in enumerate(confusion):
        right, support, predicted = row[at], sum(row), sum(other[at] for other in confusion)
        recall = right / support if support else None
        precision = right / predicted if predicted else None
        both = recall is not None and precision is not None
        f1 = 2 * right / (support + predicted) if both else None
        found.append({"support": support, "recall": recall, "precision": precision, "f1": f1})
    return found
