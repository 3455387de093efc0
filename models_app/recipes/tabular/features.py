"""Encode columns as arrays, the same way in training and in prediction. NumPy only.

Numbers, dates and booleans become standardised float32 values: (x - mean) / scale, clipped, the mean for missing
values, and one indicator column for each input that had missing values in training. Categories become codes: 0 = unseen
in training, 1 = missing, 2... = the known categories.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from models_app.tables.columns import cells
from models_app.tables.columns.contract import Contract

Kind = Literal["numeric", "boolean", "datetime", "categorical"]
Floats = NDArray[np.float64]

UNKNOWN, MISSING, FIRST_CATEGORY = 0, 1, 2
CLIP = 10.0
"""Standardised values are clipped to ±CLIP, so that one absurd value cannot dominate a batch."""


@dataclass(frozen=True)
class Strings:
    """A dictionary-encoded column of text: `indices` [rows] into `values`, -1 for missing."""

    indices: NDArray[np.int32]
    values: Sequence[str]

    @classmethod
    def of(cls, values: Sequence[str | None]) -> Strings:
        """Build the dictionary of a plain list."""
        known: dict[str, int] = {}
        indices = [-1 if value is None else known.setdefault(value, len(known)) for value in values]
        return cls(np.array(indices, dtype=np.int32), list(known))

    def take(self, rows: NDArray[np.int64]) -> Strings:
        return Strings(self.indices[rows], self.values)


@dataclass(frozen=True)
class Feature:
    """One input column and everything needed to read and encode it again at prediction."""

    name: str
    kind: Kind
    mean: float = 0.0
    scale: float = 1.0
    indicator: bool = False
    categories: tuple[str, ...] = ()
    contract: Contract | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the feature as JSON values; for a model older than contracts, without one."""
        found = {name: value for name, value in asdict(self).items() if name != "contract"}
        return found if self.contract is None else {**found, "contract": self.contract.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Feature:
        contract = value.get("contract")
        made = {**value, "categories": tuple(value["categories"])}
        return cls(**{**made, "contract": None if contract is None else Contract.from_json(contract)})


@dataclass(frozen=True)
class Encoded:
    """`numeric` is float32 [rows, numeric inputs + indicators], `codes` is int64 [rows, categorical inputs]."""

    numeric: NDArray[np.float32]
    codes: NDArray[np.int64]


def fit_numeric(name: str, kind: Kind, values: Floats) -> Feature | None:
    """Fit mean and scale to training rows `values` (float64 [rows], NaN = missing). Returns None for a constant column."""
    known = values[~np.isnan(values)]
    if known.size == 0 or known.min() == known.max():
        return None
    mean, scale = float(known.mean()), float(known.std())
    if not (math.isfinite(mean) and math.isfinite(scale) and scale > 0):
        return None
    return Feature(name, kind, mean=mean, scale=scale, indicator=known.size < values.size)


def fit_categorical(name: str, column: Strings) -> Feature | None:
    """Collect the categories of training rows. Returns None for a constant column."""
    present = np.unique(column.indices)
    if present.size < 2:
        return None
    return Feature(name, "categorical", categories=tuple(sorted(column.values[at] for at in present if at >= 0)))


def encode(features: Sequence[Feature], columns: Mapping[str, Floats | Strings], rows: int) -> Encoded:
    """Encode columns by name: float64 with NaN for numbers, Strings for categories."""
    numbers = [feature for feature in features if feature.kind != "categorical"]
    indicators = [feature for feature in numbers if feature.indicator]
    categorical = [feature for feature in features if feature.kind == "categorical"]
    numeric = np.zeros((rows, len(numbers) + len(indicators)), dtype=np.float32)
    codes = np.zeros((rows, len(categorical)), dtype=np.int64)
    for at, feature in enumerate(numbers):
        values = columns[feature.name]
        if isinstance(values, Strings):
            raise TypeError(f"Column {feature.name!r} has text where the model expects numbers.")
        missing = np.isnan(values)
        standard = np.clip((values - feature.mean) / feature.scale, -CLIP, CLIP)
        numeric[:, at] = np.where(missing, 0.0, standard)
        if feature.indicator:
            numeric[:, len(numbers) + indicators.index(feature)] = missing
    for at, feature in enumerate(categorical):
        column = columns[feature.name]
        if not isinstance(column, Strings):
            raise TypeError(f"Column {feature.name!r} has numbers where the model expects text.")
        known = Codes(feature)
        lookup = np.array([known.of(value) for value in column.values] + [MISSING], dtype=np.int64)
        codes[:, at] = lookup[column.indices]
    return Encoded(numeric, codes)


class Codes:
    """Codes of a feature's categories. `1.0` in a later file is the category `1`, unless another has that number."""

    def __init__(self, feature: Feature) -> None:
        self.known: dict[str | None, int] = {None: MISSING}
        self.known |= {category: code for code, category in enumerate(feature.categories, FIRST_CATEGORY)}
        self._twins = cells.twins(feature.categories) if feature.contract is not None else {}

    def of(self, word: str | None) -> int:
        """Return a word's code, UNKNOWN if unseen in training."""
        code = self.known.get(word)
        if code is None and word is not None:
            code = self.known.get(cells.twin(word, self._twins) or word, UNKNOWN)
        return UNKNOWN if code is None else code


def widths(features: Sequence[Feature]) -> tuple[int, list[int]]:
    """Return the number of numeric inputs of the network, and the number of codes of each categorical input."""
    numbers = [feature for feature in features if feature.kind != "categorical"]
    categorical = [feature for feature in features if feature.kind == "categorical"]
    return len(numbers) + sum(f.indicator for f in numbers), [len(f.categories) + FIRST_CATEGORY for f in categorical]
