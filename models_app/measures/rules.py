"""Alert rules of an endpoint, from sums alone: drift, predictions, accuracy, latency, errors. Pure.

A rule returns a bad finding, a good finding, or none while there is too little data; in that case an open alert stays
open and none is opened. The bad and good thresholds lie apart, so that an alert does not flap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from models_app.measures import drift, latency
from models_app.measures.window import Sums

MIN_REQUESTS = 100
MOST_ERRORS = 0.05
MIN_LABELS = 50
SURE = 3.29
"""Standard errors of a one-sided test with an error rate of one in 2,000."""

ACCURACY_SLACK = 0.05
RMSE_SLACK = 1.25

REFUSED_INPUT = frozenset(
    {
        "bad_instance", "invalid_body", "invalid_json", "invalid", "too_large", "method_not_allowed",
        "unsupported_media_type", "request_timeout", "not_found",
    }
)  # fmt: skip
"""Problem codes that the client can fix."""

REFUSED_BY_RULE = frozenset({"not_authenticated", "rate_limited", "budget_exceeded"})
"""Codes of limits that worked as intended, which are nobody's error. Every other code counts as a server error."""


@dataclass(frozen=True, kw_only=True)
class HealthFinding:
    """Result of one rule. `subject`: the feature that drifted, or `input` for client errors, else empty."""

    kind: str
    bad: bool
    value: float
    threshold: float
    message: str
    subject: str = ""


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Feedback: the number of correct predictions, or the mean squared error and its spread."""

    count: int = 0
    right: int = 0
    squared: float = 0.0
    spread: float = 0.0


def traffic(baseline: Mapping[str, Any], recent: Sums) -> list[HealthFinding]:
    """Compare the last rows of a version with its baseline: each input, and the predictions."""
    features = baseline.get("features", {})
    pairs = [("drift", name, feature, recent.inputs.get(name, [])) for name, feature in features.items()]
    if "output" in baseline:
        pairs.append(("output", "", baseline["output"], recent.outputs))
    found = []
    for kind, name, feature, counts in pairs:
        before = feature["counts"]
        if len(counts) != len(before):
            continue
        bad = drift.drifted(before, counts, len(pairs))
        if not bad and not drift.settled(before, counts, len(pairs)):
            continue
        value = drift.psi(before, counts)
        about = f"Input {name!r}" if name else "The predictions"
        says = "has drifted from the training data" if name else "have drifted from the predictions in training"
        message = f"{about} {says}: stability index {value:.2f} over the last {sum(counts):,} rows."
        found.append(
            HealthFinding(kind=kind, bad=bad, value=value, threshold=drift.ALARM, message=message, subject=name[:200])
        )
    return found


def waits(recent: Sums, slo_ms: int) -> list[HealthFinding]:
    """Compare the p95 latency of the last minutes with the endpoint's SLO."""
    answered = sum(recent.latency)
    p95 = latency.percentile(recent.latency, 0.95)
    if answered < MIN_REQUESTS or p95 is None or 0.9 * slo_ms < p95 <= slo_ms:
        return []
    message = f"p95 latency of {answered:,} requests is {p95:,.0f} ms; the SLO is {slo_ms:,} ms."
    return [HealthFinding(kind="latency", bad=p95 > slo_ms, value=p95, threshold=slo_ms, message=message)]


def faults(recent: Sums) -> list[HealthFinding]:
    """Compare the error rate of the last minutes with 5 %: server errors and client errors."""
    ours, inputs = split_errors(recent.errors)
    by_rule = sum(recent.errors.values()) - ours - inputs
    requests = recent.requests - by_rule
    if requests < MIN_REQUESTS:
        return []
    found = []
    for number, subject, text in (
        (ours, "", "had a server error (5xx)"),
        (inputs, "input", "had a client error (4xx)"),
    ):
        share = number / requests
        if MOST_ERRORS / 2 < share <= MOST_ERRORS:
            continue
        message = f"{number:,} of {requests:,} requests {text}."
        bad = share > MOST_ERRORS
        found.append(
            HealthFinding(kind="errors", subject=subject, bad=bad, value=share, threshold=MOST_ERRORS, message=message)
        )
    return found


def split_errors(errors: Mapping[str, int]) -> tuple[int, int]:
    """Return how many refused requests were server errors, and how many client errors."""
    inputs = sum(number for code, number in errors.items() if code in REFUSED_INPUT)
    ours = sum(number for code, number in errors.items() if code not in REFUSED_INPUT | REFUSED_BY_RULE)
    return ours, inputs


def ground_truth(labels: Labels, metrics: Mapping[str, Any]) -> list[HealthFinding]:
    """Compare feedback with the metric that the model was accepted with.

    Accuracy: bad if even the upper Wilson bound (1927) is more than 0.05 below. Root mean squared error: bad if even
    the lower bound of the mean is more than a quarter above.
    """
    if labels.count < MIN_LABELS:
        return []
    if isinstance(metrics.get("accuracy"), int | float):
        expected, share = float(metrics["accuracy"]), labels.right / labels.count
        least = expected - ACCURACY_SLACK
        bad = wilson_upper(labels.right, labels.count) < least
        message = (
            f"{share:.0%} of {labels.count:,} labelled predictions were correct; on test rows it was {expected:.0%}."
        )
        clear = share >= least
    elif isinstance(metrics.get("rmse"), int | float):
        expected, share = float(metrics["rmse"]), math.sqrt(labels.squared)
        least = expected * RMSE_SLACK
        lower = labels.squared - SURE * labels.spread / math.sqrt(labels.count)
        bad = lower > least**2
        message = f"The error over {labels.count:,} labelled predictions is {share:.4g} (RMSE); on test rows it was {expected:.4g}."
        clear = share <= least
    else:
        return []
    if not bad and not clear:
        return []
    return [HealthFinding(kind="accuracy", bad=bad, value=share, threshold=least, message=message)]


def wilson_upper(right: int, count: int) -> float:
    """Return the upper bound of a share, SURE standard errors away (Wilson 1927)."""
    share, z = right / count, SURE
    centre = share + z * z / (2 * count)
    return (centre + z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))) / (1 + z * z / count)
