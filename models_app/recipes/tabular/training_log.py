"""Log and progress of a training run: readable lines. Never a value of the data."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from models_app.recipes.tabular import table
from models_app.recipes.tabular.checkpoint import Position
from models_app.runner_protocol import Reporter, note

EPOCH_LINE_S = 1.0
BATCH_LINE_S = 30.0
PROGRESS_S = 1.0
FEW_VALUES = 2


def target_warning(data: table.Table, task: str) -> str | None:
    """Return a warning about a target that the recipe accepts but another recipe suits better."""
    if task != "regression":
        return None
    first = data.target.values[0]
    others = data.target.values[data.target.values != first]
    if (others != others[0]).any():
        return None
    return (
        f"the target has only {FEW_VALUES} different values, and a regressor treats them as quantities. "
        "If they are classes, such as no and yes, train tabular.classifier instead."
    )


class TrainingLog:
    """Log lines and progress of one run, rate-limited for the log and the database."""

    def __init__(self, report: Reporter, epochs: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._report, self._epochs, self._clock = report, epochs, clock
        self._began = self._lined = self._told = clock()
        self._first_line = True
        self._from = 0.0

    def read(
        self, data: table.Table, parts: table.Split, *, task: str, used: int, ignored: list[dict[str, str]]
    ) -> None:
        """Log what was read and how it is split."""
        classes = f", {len(data.target.classes)} classes" if data.target.classes else ""
        without = f" ({data.dropped_rows:,} more have no target value)" if data.dropped_rows else ""
        note(f"read {data.rows:,} rows{without}, {len(data.kinds):,} columns, target {data.target.kind}{classes}")
        reasons: dict[str, int] = {}
        for column in ignored:
            reasons[column["reason"]] = reasons.get(column["reason"], 0) + 1
        left = "".join(f"; {count:,} not used: {reason}" for reason, count in reasons.items())
        note(f"learning from {used:,} columns{left}")
        note(
            f"split: {parts.train.size:,} training, {parts.validation.size:,} validation, {parts.test.size:,} test rows"
        )
        warning = target_warning(data, task)
        if warning:
            note(f"warning: {warning}")

    def start(self, at: Position, batches: int) -> None:
        """Log that training starts or resumes here."""
        self._began = self._lined = self._clock()
        self._from = at.epoch + at.batch / batches
        self._tell(at, batches)

    def batch(self, at: Position, batches: int) -> None:
        """Report progress within a long epoch, and log at intervals."""
        now = self._clock()
        if now - self._told >= PROGRESS_S:
            self._tell(at, batches)
        if now - self._lined >= BATCH_LINE_S:
            self._lined = now
            note(
                f"epoch {at.epoch + 1}, batch {at.batch} of {batches}: train loss {at.loss_sum / at.loss_rows:.5g} so far"
            )

    def epoch(self, at: Position, batches: int, values: dict[str, float], rate: float, *, last: bool) -> None:
        """Log the end of an epoch; `at` is already behind it. The first and the last are always logged."""
        self._tell(at, batches)
        now = self._clock()
        if not (self._first_line or last or now - self._lined >= EPOCH_LINE_S):
            return
        self._first_line, self._lined = False, now
        shown = ", ".join(f"{name.replace('_', ' ')} {value:.5g}" for name, value in values.items())
        note(f"epoch {at.epoch} of {self._epochs}: {shown}, learning rate {rate:g}, {best(at)}")

    def _tell(self, at: Position, batches: int) -> None:
        now = self._told = self._clock()
        done = at.epoch + at.batch / batches
        pace = (now - self._began) / (done - self._from) if done > self._from else None
        eta = None if pace is None else round(pace * (self._epochs - done), 1)
        self._report.progress("training", at.epoch, self._epochs, eta)


def best(at: Position) -> str:
    """Return the best epoch so far as text."""
    return f"best val loss {at.best_loss:.5g} at epoch {at.best_epoch + 1}" if at.best_epoch >= 0 else "no best yet"


def figures(measured: dict[str, Any]) -> str:
    """Return the scalar metrics as one line, without tables such as the confusion matrix."""
    return ", ".join(f"{name} {value:.5g}" for name, value in measured.items() if isinstance(value, float))
