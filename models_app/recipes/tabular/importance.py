"""Permutation importance: how much the test metric drops when an input's values are shuffled.

After Breiman (2001) and Fisher, Rudin, Dominici (2019). Measured on rows unseen in training, it shows what the model
uses, not what could be learnt from the data; of two redundant inputs each looks dispensable. The cost is bounded by a
count of multiply-adds, not by a clock, so that the same run measures the same.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models_app.recipes.tabular.features import Feature

REPEATS = 3
MOST_ROWS, FEWEST_ROWS = 2_000, 200
MOST_LISTED = 200
"""Inputs stored with the version's metrics; beyond the first ones, the drops are chance."""

MOST_MADDS = 2e10
"""About a second of one CPU thread."""

Figures = Callable[[Tensor, NDArray[np.int64]], dict[str, Any]]
"""Outputs of the network for these rows [rows, outputs], and the rows' indexes -> their metrics."""


@dataclass(frozen=True)
class Inputs:
    """The inputs of a network, and all encoded rows: `numeric` float32 [rows, n] and `codes` int64 [rows, c]."""

    features: Sequence[Feature]
    numeric: Tensor
    codes: Tensor


def importance(
    inputs: Inputs, rows: NDArray[np.int64], *, net: nn.Module, figures: Figures, seed: int
) -> dict[str, Any]:
    """Return the drop in accuracy, or R2, for each input, largest first: the mean over REPEATS seeded shuffles.

    `rows` are the indexes of the test rows. A large table is sampled with the seed; if that is still too much, only its
    first inputs are measured.
    """
    features, numeric, codes = inputs.features, inputs.numeric, inputs.codes
    net.eval()
    weights = sum(value.numel() for value in net.parameters())

    def measure(numbers: Tensor, texts: Tensor) -> dict[str, Any]:
        with torch.no_grad():
            return figures(net(numbers, texts), sample)

    shuffle = torch.Generator().manual_seed(seed)
    cost = REPEATS * max(1, len(features)) * weights
    most = int(min(MOST_ROWS, max(FEWEST_ROWS, MOST_MADDS // cost)))
    sample = rows[torch.randperm(rows.size, generator=shuffle)[:most].numpy()]
    measured = features[: max(1, int(MOST_MADDS // (REPEATS * sample.size * weights)))]
    chosen = torch.from_numpy(sample).to(numeric.device)
    numbers, texts = numeric[chosen], codes[chosen]
    whole = measure(numbers, texts)
    figure = "accuracy" if "accuracy" in whole else "r2"
    found: list[dict[str, Any]] = []
    places = _places(features)
    for feature in measured:
        losses = []
        for _ in range(REPEATS):
            order = torch.randperm(sample.size, generator=shuffle).to(numeric.device)
            mixed, words = numbers.clone(), texts.clone()
            at = places[feature.name]
            if feature.kind == "categorical":
                words[:, at] = texts[order][:, at]
            else:
                mixed[:, at] = numbers[order][:, at]
            losses.append(whole[figure] - measure(mixed, words)[figure])
        found.append({"name": feature.name, "drop": float(np.mean(losses)), "std": float(np.std(losses))})
    return {
        "figure": figure,
        "base": whole[figure],
        "rows": int(sample.size),
        "repeats": REPEATS,
        "seed": seed,
        "not_measured": len(features) - len(measured),
        "columns": sorted(found, key=lambda one: -one["drop"])[:MOST_LISTED],
    }


def _places(features: Sequence[Feature]) -> dict[str, list[int]]:
    """Return the encoded columns of each input: a number and its missing indicator."""
    numbers = [feature for feature in features if feature.kind != "categorical"]
    indicators = [feature for feature in numbers if feature.indicator]
    places = {feature.name: [at] for at, feature in enumerate(numbers)}
    for at, feature in enumerate(indicators):
        places[feature.name].append(len(numbers) + at)
    categorical = [feature for feature in features if feature.kind == "categorical"]
    return places | {feature.name: [at] for at, feature in enumerate(categorical)}
