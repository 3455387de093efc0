"""Predict with a trained tabular model: weights and signature in, predictions out. No pickle anywhere."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor

from models_app.recipes.columns import WORDS
from models_app.recipes.tabular.features import Encoded, Feature, Floats, Strings, encode
from models_app.recipes.tabular.network import TabularNet
from models_app.recipes.tabular.prediction.block import Block, Intake, join
from models_app.recipes.tabular.prediction.request_values import BadInstance, number_of
from models_app.tables.columns import cells

__all__ = ["FORMAT", "BadInstance", "Predictor", "UnreadableModel", "load"]

FORMAT = 1


class UnreadableModel(ValueError):
    """The weights do not fit the signature, or the signature has an unknown format."""


class Predictor:
    """A loaded model. `predict` takes rows, `outputs` encoded arrays."""

    def __init__(
        self, signature: Mapping[str, Any], weights: Mapping[str, Tensor], device: torch.device | None = None
    ) -> None:
        if signature.get("format") != FORMAT:
            raise UnreadableModel(f"Signature format {signature.get('format')!r} is not known; {FORMAT} is.")
        self.signature = signature
        self.features = [Feature.from_json(value) for value in signature["inputs"]]
        self.classes: list[Any] = list(signature["classes"])
        self.class_words = [cells.word(name) for name in self.classes]
        self.intake = Intake(self.features, str(signature["target"]["name"]), signature.get("unused", ()))
        self.device = device or torch.device("cpu")
        self.net = TabularNet(**signature["network"])
        try:
            self.net.load_state_dict(dict(weights))
        except RuntimeError as error:
            raise UnreadableModel(f"The weights do not fit the signature: {error}") from error
        self.net.to(self.device).eval()

    def predict(self, instances: Sequence[Mapping[str, Any] | Sequence[Any]]) -> list[dict[str, Any] | float]:
        """Return a prediction for each row: `{"label", "scores"}` from a classifier, a number from a regressor.

        A row is an object by column name (an absent column is missing) or a list in the order of the signature. Raises
        BadInstance.
        """
        rows = [self._named(instance) for instance in instances]
        columns = {feature.name: _column(feature, [row.get(feature.name) for row in rows]) for feature in self.features}
        return self.answers(self.outputs(encode(self.features, columns, len(rows))))

    def predict_many(
        self, requests: Sequence[Sequence[Mapping[str, Any] | Sequence[Any]]]
    ) -> list[list[dict[str, Any] | float] | BadInstance]:
        """Predict the rows of many requests as one batch; return each request's predictions, or its error.

        Stricter than `predict`: unknown columns, absent columns and NaN are refused.
        """
        blocks = self.intake.stack(requests)
        good = [block for block in blocks if isinstance(block, Block)]
        answers = iter(self.answers(self.scores(join(good)))) if good else iter(())
        return [
            block if isinstance(block, BadInstance) else [next(answers) for _ in range(block.rows)] for block in blocks
        ]

    def scores(self, block: Block) -> NDArray[np.float64]:
        """Return the `outputs` of a block of rows."""
        return self.outputs(self.intake.encode(block))

    def answers(self, found: NDArray[np.float64]) -> list[dict[str, Any] | float]:
        """Return outputs as predictions, one per row: `{"label", "scores"}` or a number."""
        if not self.classes:
            return [float(value) for value in found[:, 0]]
        best = found.argmax(axis=1).tolist()
        return [
            {"label": self.classes[at], "scores": dict(zip(self.class_words, scores, strict=True))}
            for at, scores in zip(best, found.tolist(), strict=True)
        ]

    def outputs(self, encoded: Encoded) -> NDArray[np.float64]:
        """Return class scores that sum to one [rows, classes], or numbers [rows, 1]."""
        with torch.no_grad():
            raw = self.net(
                torch.from_numpy(encoded.numeric).to(self.device), torch.from_numpy(encoded.codes).to(self.device)
            ).double()
        if self.classes:
            scores: NDArray[np.float64] = torch.softmax(raw, dim=1).cpu().numpy()
            return scores
        target = self.signature["target"]
        numbers: NDArray[np.float64] = raw.cpu().numpy() * target["scale"] + target["mean"]
        return numbers

    def _named(self, instance: Mapping[str, Any] | Sequence[Any]) -> Mapping[str, Any]:
        if isinstance(instance, Mapping):
            return instance
        if isinstance(instance, str) or len(instance) != len(self.features):
            raise BadInstance(f"A row needs {len(self.features)} values in the order of the signature.")
        return dict(zip((feature.name for feature in self.features), instance, strict=True))


def load(folder: Path, device: torch.device | None = None) -> Predictor:
    """Load `model.safetensors` and `signature.json` from a folder. Raises UnreadableModel."""
    signature = json.loads((folder / "signature.json").read_text(encoding="utf-8"))
    return Predictor(signature, load_file(folder / "model.safetensors"), device)


def _column(feature: Feature, values: Sequence[Any]) -> Floats | Strings:
    if feature.kind == "categorical":
        if feature.contract is not None:
            return Strings.of([cells.clean(value, feature.contract) for value in values])  # type: ignore[misc]
        return Strings.of([None if value is None else cells.word(value) for value in values])
    return np.array([_number(feature, value) for value in values], dtype=np.float64)


def _number(feature: Feature, value: Any) -> float:
    if value is None or value == "":
        return math.nan
    try:
        number = number_of(feature, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise BadInstance(f"Column {feature.name!r} takes {WORDS[feature.kind]}, not {str(value)[:40]!r}.") from error
    if math.isinf(number):
        raise BadInstance(f"Column {feature.name!r} takes finite numbers.")
    return number
