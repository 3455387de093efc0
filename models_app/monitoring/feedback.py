"""Feedback: each label counts once, and its id proves which prediction it is about."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.conf import settings

from models_app.access import visible_endpoints
from models_app.measures import bins, prediction_id
from models_app.models import Endpoint, Feedback, ModelVersion
from models_app.monitoring import alerts
from models_app.tables.columns.cells import spelled
from tenants.access.actor import Actor
from tenants.clock import now
from tenants.errors import Invalid, NotFound
from tenants.parsing import holds_nul

MOST_ITEMS = 1_000
MOST_LETTERS = 200
OLDEST = timedelta(days=90)


@dataclass
class Counts:
    """Result by item: stored now, stored before with the same label, or refused with a code and a sentence."""

    accepted: int = 0
    known: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)


class LabelsRefused(ValueError):
    """One item cannot be counted."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def record(*, actor: Actor, endpoint_id: UUID, items: Sequence[Any]) -> Counts:
    """Store ground truth for predictions of one endpoint and evaluate its accuracy; `items`: `{prediction_id, label}`.

    A bad item is reported and the others are stored. Raises NotFound, and Invalid for an empty list.
    """
    actor.require_somewhere("endpoints.feedback")
    endpoint = visible_endpoints(actor).filter(id=endpoint_id).first()
    if endpoint is None:
        raise NotFound
    actor.require("endpoints.feedback", endpoint)
    if not 1 <= len(items) <= MOST_ITEMS:
        raise Invalid(fields={"items": [f"Send 1 to {MOST_ITEMS:,} items, each with prediction_id and label."]})
    counts = Counts()
    rows = _rows(endpoint, items, counts)
    _store(rows, counts)
    counts.errors.sort(key=lambda error: error["index"])
    if counts.accepted:
        alerts.evaluate(endpoint.id)
    return counts


def _rows(endpoint: Endpoint, items: Sequence[Any], counts: Counts) -> list[tuple[int, Feedback]]:
    # Ids from before 3 December 2026 are signed under SECRET_KEY itself.
    secrets = (settings.EXCHEQUER.serving_key, settings.SECRET_KEY)
    keys, moment = [prediction_id.derive_key(secret, endpoint.id) for secret in secrets], now()
    read: list[tuple[int, str, prediction_id.Prediction, Any]] = []
    for index, item in enumerate(items):
        try:
            text, label = _item(item)
            read.append((index, text, _prediction(keys, text, moment), label))
        except LabelsRefused as refused:
            _refuse(counts, index, refused)
    versions = ModelVersion.objects.only("signature").in_bulk({prediction.version_id for _, _, prediction, _ in read})
    rows = []
    for index, text, prediction, label in read:
        try:
            row = _feedback(versions.get(prediction.version_id), prediction, label)
        except LabelsRefused as refused:
            _refuse(counts, index, refused)
            continue
        row.endpoint, row.prediction = endpoint, prediction_id.fingerprint(text)
        rows.append((index, row))
    return rows


def _store(rows: list[tuple[int, Feedback]], counts: Counts) -> None:
    """Insert new labels. The unique fingerprint decides between concurrent requests."""
    fresh: dict[bytes, Feedback] = {}
    for _, row in rows:
        row.claim_tenant()
        fresh.setdefault(bytes(row.prediction), row)
    Feedback.objects.bulk_create(fresh.values(), ignore_conflicts=True)
    stored = {
        bytes(row.prediction): row
        for row in Feedback.objects.filter(prediction__in=list(fresh)).only("id", "prediction", "label")
    }
    for index, row in rows:
        kept = stored[bytes(row.prediction)]
        if kept.id == row.id:
            counts.accepted += 1
        elif kept.label == row.label:
            counts.known += 1
        else:
            message = f"This prediction has the label {kept.label!r} already. Labels cannot be changed."
            _refuse(counts, index, LabelsRefused("label_conflict", message))


def _item(item: Any) -> tuple[str, Any]:
    if (
        not isinstance(item, Mapping)
        or not isinstance(item.get("prediction_id"), str)
        or item.keys() - {"prediction_id", "label"}
    ):
        raise LabelsRefused("invalid", "Send an object with prediction_id and label.")
    label = item.get("label")
    if not isinstance(label, str | int | float) or holds_nul(label) or len(str(label)) > MOST_LETTERS:
        raise LabelsRefused(
            "invalid", f"The label is a text of at most {MOST_LETTERS} letters, a number, true or false."
        )
    return item["prediction_id"], label


def _prediction(keys: Sequence[bytes], text: str, moment: datetime) -> prediction_id.Prediction:
    found, why = None, ""
    for key in keys:
        try:
            found = prediction_id.verify(key, text)
            break
        except prediction_id.ForgedPrediction as error:
            why = str(error)
    if found is None:
        raise LabelsRefused("unknown_prediction", why)
    if found.at_ms / 1000 < (moment - OLDEST).timestamp():
        raise LabelsRefused("too_old", f"Labels are accepted for {OLDEST.days} days after the prediction.")
    return found


def _feedback(version: ModelVersion | None, prediction: prediction_id.Prediction, label: Any) -> Feedback:
    if version is None:
        raise LabelsRefused("unknown_prediction", "This endpoint has no prediction with this id.")
    classes = [bins.as_word(value) for value in version.signature.get("classes", [])]
    at = datetime.fromtimestamp(prediction.at_ms / 1000, UTC)
    if classes:
        if not isinstance(prediction.outcome, int) or not 0 <= prediction.outcome < len(classes):
            raise LabelsRefused("unknown_prediction", "This endpoint has no prediction with this id.")
        predicted, ground_truth = classes[prediction.outcome], spelled(label, classes)
        if ground_truth is None:
            known = ", ".join(classes[:10]) + (", …" if len(classes) > 10 else "")
            raise LabelsRefused(
                "unknown_label", f"{bins.as_word(label)[:40]!r} is not a class of this model. Its classes are: {known}."
            )
        return Feedback(
            version=version,
            predicted=predicted[:200],
            label=ground_truth,
            correct=predicted == ground_truth,
            predicted_at=at,
        )
    number = None if isinstance(label, bool) else bins.as_number(label)
    if number is None or not math.isfinite(number):
        raise LabelsRefused("unknown_label", "This model predicts numbers: send a finite number as the label.")
    error = float(prediction.outcome) - number
    if not abs(error) < alerts.FAR:  # NaN too
        raise LabelsRefused("unknown_label", "The label is too far from the prediction to be measured.")
    return Feedback(
        version=version,
        predicted=f"{float(prediction.outcome):.12g}",
        label=f"{number:.12g}",
        error=error,
        predicted_at=at,
    )


def _refuse(counts: Counts, index: int, refused: LabelsRefused) -> None:
    counts.errors.append({"index": index, "code": refused.code, "message": str(refused)})
