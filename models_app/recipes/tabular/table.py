"""Read the canonical Parquet of a dataset version and split it into training, validation and test rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from models_app.recipes.tabular.features import Floats, Strings
from models_app.runner_protocol import InputError
from models_app.tables.columns.contract import Contract
from models_app.tables.columns.convert import convert
from models_app.tables.columns.infer import MACHINE
from models_app.tables.columns.kinds import MAX_CLASSES, MIN_TRAINING_ROWS
from models_app.tables.columns.stored import RAW, StoredColumn, columns_of

MIN_CLASS_ROWS = 3

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Split:
    """Row indexes of each part."""

    train: Rows
    validation: Rows
    test: Rows


@dataclass(frozen=True)
class Target:
    """The target. `values` is class indices (int64) or numbers (float64), one per kept row."""

    name: str
    kind: str
    values: NDArray[Any]
    classes: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Table:
    """Rows with a known target. `kinds` names the kind of every column, target included.

    `kept`: their indexes among all rows of the file. `contracts`: how each column is read, if the table stores it.
    `inexact`: columns of whole numbers beyond 2^53, which float64 cannot represent exactly.
    """

    columns: Mapping[str, Floats | Strings]
    kinds: Mapping[str, str]
    target: Target
    rows: int
    dropped_rows: int
    kept: Rows
    contracts: Mapping[str, Contract] = field(default_factory=dict)
    inexact: frozenset[str] = frozenset()


def read(path: Path, *, target: str, task: str, exclude: frozenset[str]) -> Table:
    """Read the columns that a network can use. Raises InputError if the target does not fit the task."""
    file = pq.ParquetFile(path)
    stored = columns_of(file.schema_arrow)
    kinds = {name: one.kind for name, one in stored.items()}
    if target not in kinds:
        raise InputError(
            "target_missing", f"The dataset has no column {target!r}. Choose one of its columns as the target."
        )
    unknown = sorted(exclude - kinds.keys())
    if unknown:
        raise InputError(
            "unknown_column", f"Columns to leave out that the dataset does not have: {', '.join(unknown[:5])}."
        )
    raw = _labels(file, stored[target], task)
    kept = np.flatnonzero(np.asarray(raw.is_valid()))
    if kept.size < MIN_TRAINING_ROWS:
        raise InputError(
            "too_few_rows",
            f"Only {kept.size} rows have a target value; training needs at least {MIN_TRAINING_ROWS}. Add rows to the dataset.",
        )
    goal = _target(target, kinds[target], raw.take(pa.array(kept)), task)
    columns: dict[str, Floats | Strings] = {}
    inexact = set()
    for name, kind in kinds.items():
        if name == target or name in exclude or kind in ("text", "empty"):
            continue
        found = file.read(columns=[name]).column(0)
        if pa.types.is_integer(found.type) and not _exact(found):
            inexact.add(name)
        else:
            columns[name] = _column(found, kind, kept)
    contracts = {name: one.contract for name, one in stored.items() if one.contract is not None}
    dropped = int(len(raw) - kept.size)
    return Table(columns, kinds, goal, int(kept.size), dropped, kept, contracts, frozenset(inexact))


def split(target: Target, *, validation: float, test: float, seed: int) -> Split:
    """Split rows at random so that each part has its share of every class, or of every range of a number.

    Stratified sampling: rows are sorted by target (classes kept together) and dealt out in turns, shuffled within each
    turn. Classes with fewer than MIN_CLASS_ROWS rows go to training only.
    """
    random = np.random.default_rng(seed)
    everyone = random.permutation(target.values.size)
    parts: list[list[Rows]] = [[], [], []]
    if target.classes:
        groups = [everyone[target.values[everyone] == index] for index in range(len(target.classes))]
    else:
        groups = np.array_split(
            everyone[np.argsort(target.values[everyone], kind="stable")], max(1, target.values.size // 20)
        )
        groups = [random.permutation(group) for group in groups]
    carry_validation = carry_test = 0.0
    for group in groups:
        if target.classes and group.size < MIN_CLASS_ROWS:
            parts[0].append(group)
            continue
        wanted_test, wanted_validation = group.size * test + carry_test, group.size * validation + carry_validation
        least = 1 if target.classes else 0
        for_test = min(max(least, round(wanted_test)), group.size - 2 * least)
        for_validation = min(max(least, round(wanted_validation)), group.size - for_test - least)
        carry_test, carry_validation = wanted_test - for_test, wanted_validation - for_validation
        parts[2].append(group[:for_test])
        parts[1].append(group[for_test : for_test + for_validation])
        parts[0].append(group[for_test + for_validation :])
    train, held, measured = (
        np.sort(np.concatenate(part)).astype(np.int64) if part else np.empty(0, np.int64) for part in parts
    )
    return Split(train, held, measured)


def _labels(file: pq.ParquetFile, stored: StoredColumn, task: str) -> pa.ChunkedArray:
    """Return the target's values; classes as spelled in the file.

    A word for missing that may be a class, such as NA among words, is a class of the target unless a person chose
    otherwise; in a numeric column it stays missing.
    """
    values = file.read(columns=[stored.name]).column(0)
    if task != "classification" or not stored.raw or stored.contract is None or pa.types.is_integer(values.type):
        return values
    if stored.kind == "numeric" and not pc.all(pc.equal(values, pc.floor(values))).as_py():
        return values
    contract = stored.contract
    kept = contract.missing if stored.chosen_missing or stored.kind == "numeric" else MACHINE & {*contract.missing}
    as_written = replace(contract, type="categorical", missing=tuple(kept))
    words = [convert(chunk, as_written)[0] for chunk in file.read(columns=[RAW + stored.name]).column(0).chunks]
    return pa.chunked_array(words, pa.string())


def _exact(values: pa.ChunkedArray) -> bool:
    """Return whether float64 represents every whole number exactly."""
    bounds = pc.min_max(values)
    return bounds["min"].as_py() is None or max(-bounds["min"].as_py(), bounds["max"].as_py()) <= 2**53


def _target(name: str, kind: str, raw: pa.ChunkedArray, task: str) -> Target:
    if kind in ("text", "empty", "datetime"):
        words = {"text": "free text with too many different values", "empty": "no values", "datetime": "dates"}[kind]
        raise InputError(
            "target_unfit", f"Target column {name!r} holds {words}. Choose a column with classes or numbers."
        )
    if task == "regression":
        if kind != "numeric":
            raise InputError(
                "target_unfit",
                f"Target column {name!r} holds classes, not numbers. Use tabular.classifier, or choose a numeric column.",
            )
        values = numbers(raw, kind)
        if values.min() == values.max():
            raise InputError(
                "target_constant",
                f"Target column {name!r} has the same value in every row, so there is nothing to predict.",
            )
        return Target(name, kind, values)
    if kind == "numeric" and pa.types.is_floating(raw.type) and not pc.all(pc.equal(raw, pc.floor(raw))).as_py():
        raise InputError(
            "target_unfit",
            f"Target column {name!r} holds numbers with decimals. Use tabular.regressor, or choose a column with classes.",
        )
    encoded = pc.dictionary_encode(raw.combine_chunks())
    classes = encoded.dictionary.to_pylist()
    if len(classes) > MAX_CLASSES:
        raise InputError(
            "too_many_classes",
            f"Target column {name!r} has {len(classes)} classes; the most is {MAX_CLASSES}. Use tabular.regressor for quantities.",
        )
    order = sorted(range(len(classes)), key=lambda at: classes[at])
    rank = np.empty(len(classes), dtype=np.int64)
    rank[order] = np.arange(len(classes))
    values = rank[encoded.indices.to_numpy(zero_copy_only=False)]
    if (np.bincount(values) >= MIN_CLASS_ROWS).sum() < 2:
        raise InputError(
            "too_few_classes", f"Target column {name!r} needs at least two classes with {MIN_CLASS_ROWS} rows or more."
        )
    return Target(name, kind, values, tuple(classes[at] for at in order))


def _column(raw: pa.ChunkedArray, kind: str, kept: Rows) -> Floats | Strings:
    if kind == "categorical":
        encoded = raw.combine_chunks().dictionary_encode()
        indices = pc.fill_null(encoded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int32)
        return Strings(indices[kept], encoded.dictionary.to_pylist())
    return numbers(raw, kind)[kept]


def numbers(raw: pa.ChunkedArray, kind: str) -> Floats:
    """Return a numeric, boolean or date column as float64 [rows] (dates as seconds since 1970), NaN for missing."""
    if kind == "datetime":
        raw = pc.divide(raw.cast(pa.int64()).cast(pa.float64(), safe=False), 1_000_000.0)
    values: Floats = raw.cast(pa.float64(), safe=False).to_numpy()
    return values
