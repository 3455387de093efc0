"""Test metrics. NumPy only; each function names its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_app.recipes.tabular.per_class import by_class

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def classification(scores: Floats, targets: Ints) -> dict[str, Any]:
    """Evaluate class scores [rows, classes], which sum to one, against true class indices [rows].

    `balanced_accuracy` is the mean recall over classes in `targets`; `log_loss` is in nats with scores clipped
    at 1e-15; `roc_auc` is given for two classes only. Rows of the confusion matrix are true classes, `by_class` has
    their order.
    """
    classes = scores.shape[1]
    predicted = scores.argmax(axis=1)
    confusion = np.bincount(targets * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    totals = confusion.sum(axis=1)
    recall = confusion.diagonal()[totals > 0] / totals[totals > 0]
    figures: dict[str, Any] = {
        "accuracy": float((predicted == targets).mean()),
        "balanced_accuracy": float(recall.mean()),
        "log_loss": float(-np.log(np.clip(scores[np.arange(targets.size), targets], 1e-15, 1.0)).mean()),
        "majority_share": float(totals.max() / totals.sum()),
        "confusion": confusion.tolist(),
        "by_class": by_class(confusion.tolist()),
    }
    if classes == 2 and 0 < targets.sum() < targets.size:
        figures["roc_auc"] = roc_auc(scores[:, 1], targets)
    return figures


def roc_auc(scores: Floats, targets: Ints) -> float:
    """Return the area under the ROC curve as the Mann-Whitney statistic, ties counted half (Hanley, McNeil 1982)."""
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2.0)[group]
    positives = int((targets == 1).sum())
    negatives = targets.size - positives
    return float((ranks[targets == 1].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def regression(predicted: Floats, targets: Floats) -> dict[str, Any]:
    """Evaluate predicted numbers [rows] against `targets` [rows]. `r2` is 1 - SSE/SST, 0 if the targets are constant."""
    error = predicted - targets
    total = float(((targets - targets.mean()) ** 2).sum())
    return {
        "r2": 1.0 - float((error**2).sum()) / total if total > 0 else 0.0,
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
    }
