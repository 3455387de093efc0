"""What a finished training leaves: the weights, the signature, and the metrics on the test rows."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from models_app.recipes.tabular import metrics, table, training_log
from models_app.recipes.tabular.importance import Inputs, importance
from models_app.recipes.tabular.reference import reference
from models_app.runner_protocol import note, write_json

if TYPE_CHECKING:
    from models_app.recipes.tabular.train import Training

SIGNATURE_FORMAT = 1


def write_outcome(training: Training, ignored: list[dict[str, str]]) -> None:
    """Evaluate the best network on the test rows and write the files that the parent collects."""
    training.context.report.progress("measuring", training.at.epoch, training.params["epochs"], 0.0)
    out = training.context.out
    measured, held = (
        _measure(training, training.predict(part), part) for part in (training.parts.test, training.parts.validation)
    )
    inputs, seed = Inputs(training.features, training.numeric, training.codes), training.params["seed"]
    measured["importance"] = importance(
        inputs, training.parts.test, net=training.net, figures=partial(_measure, training), seed=seed
    )
    note(f"validation: {training_log.figures(held)}")
    note(f"held-out test: {training_log.figures(measured)}")
    save_file(
        {name: value.detach().cpu().contiguous() for name, value in training.net.state_dict().items()},
        out / "model.safetensors",
    )
    write_json(out / "signature.json", _signature(training, ignored))
    rows = {part: int(getattr(training.parts, part).size) for part in ("train", "validation", "test")}
    write_json(
        out / "result.json",
        {
            "metrics": measured,
            "validation": held,
            "rows": {**rows, "without_target": training.data.dropped_rows},
            "epochs": training.at.epoch,
            "best_epoch": training.at.best_epoch + 1,
            "stopped_early": training.at.waited >= training.params["patience"],
            "ignored_columns": ignored,
            "baseline": _reference(training),
            "files": ["model.safetensors", "signature.json"],
        },
    )
    training.context.report.metric(
        training.at.epoch + 1, {f"test_{name}": value for name, value in measured.items() if isinstance(value, float)}
    )
    note(f"wrote model.safetensors, {(out / 'model.safetensors').stat().st_size:,} bytes, and its signature")


def _reference(training: Training) -> dict[str, Any]:
    unlearnt = training.predict(np.concatenate([training.parts.validation, training.parts.test])).double().cpu().numpy()
    return reference(training.features, training.data, unlearnt, mean=training.mean, scale=training.scale)


def _measure(
    training: Training, found: Tensor, rows: table.Rows
) -> dict[str, Any]:  # `found` as `Training.predict` returns
    targets: NDArray[Any] = training.data.target.values[rows]
    if training.data.target.classes:
        return metrics.classification(torch.softmax(found.double(), dim=1).cpu().numpy(), targets)
    return metrics.regression(found.double().cpu().numpy().reshape(-1) * training.scale + training.mean, targets)


def _signature(training: Training, ignored: list[dict[str, str]]) -> dict[str, Any]:
    target = training.data.target
    return {
        "format": SIGNATURE_FORMAT,
        "recipe": training.recipe.id,
        "recipe_version": training.recipe.version,
        "task": training.recipe.task,
        "inputs": [feature.to_json() for feature in training.features],
        "target": {"name": target.name, "kind": target.kind, "mean": training.mean, "scale": training.scale},
        "classes": list(target.classes),
        "unused": [one["name"] for one in ignored],
        "network": training.net.shape,
    }
