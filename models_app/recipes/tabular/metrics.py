"""Test metrics. NumPy only; each function names its definition."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_app.recipes.tabular.per_class import by_class

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def classification(scores: Floats, truth: Ints) -> dict[str, Any]:
    """Evaluate class scores [rows, classes], which sum to one, against true class indices [rows].

    `balanced_accuracy` is the mean recall over classes that occur in `truth`; `log_loss` is in nats with scores clipped
    at 1e-15; `roc_auc` is given for two classes only. Rows of the confusion matrix are true classes, `by_class` has
    their order.
    """
    classes = scores.shape[1]
    predicted = scores.argmax(axis=1)
    confusion = np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    totals = confusion.sum(axis=1)
    recall = confusion.diagonal()[totals > 0] / totals[totals > 0]
    figures: dict[str, Any] = {
        "accuracy": float((predicted == truth).mean()),
        "balanced_accuracy": float(recall.mean()),
        "log_loss": float(-np.log(np.clip(scores[np.arange(truth.size), truth], 1e-15, 1.0)).mean()),
        "majority_share": float(totals.max() / totals.sum()),
        "confusion": confusion.tolist(),
        "by_class": by_class(confusion.tolist()),
    }
    if classes == 2 and 0 < truth.sum() < truth.size:
        figures["roc_auc"] = roc_auc(scores[:, 1], truth)
    return figures


def roc_auc(scores: Floats, truth: Ints) -> float:
    """Return the area under the ROC curve as the Mann-Whitney statistic, ties counted half (Hanley, McNeil 1982)."""
    _, group, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2.0)[group]
    positives = int((truth == 1).sum())
    negatives = truth.size - positives
    return float((ranks[truth == 1].sum() - positives * (positives + 1) / 2.0) / (positives * negatives))


def regression(predicted: Floats, truth: Floats) -> dict[str, Any]:
    """Evaluate predicted numbers [rows] against true ones [rows]. `r2` is 1 - SSE/SST, 0 if the truth is constant."""
    error = predicted - truth
    total = float(((truth - truth.mean()) ** 2).sum())
    return {
        "r2": 1.0 - float((error**2).sum()) / total if total > 0 else 0.0,
        "mae": float(np.abs(error).mean()),
        "rmse": float(np.sqrt((error**2).mean())),
    }
