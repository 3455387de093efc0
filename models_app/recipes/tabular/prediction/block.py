"""Rows of many requests as one block: validated, stacked and encoded together, with separate errors per request.

`Intake` gives the same numbers as `Predictor.predict` row by row. Plain values (numbers, nulls, words) of all requests
take one NumPy stack; only a request with other values is read value by value.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from models_app.recipes.tabular.features import CLIP, UNKNOWN, Codes, Encoded, Feature, Floats
from models_app.recipes.tabular.prediction.request_values import (
    BadInstance,
    is_flag,
    no_flag,
    not_finite,
    numbers_of,
    refused,
    words_of,
)
from models_app.tables.columns import cells

NUMBERS = frozenset({int, float, bool, type(None)})


class _NotPlain(Exception):
    """These rows hold more than plain values of all columns and must be read one by one."""


@dataclass(frozen=True, slots=True)
class Block:
    """Rows of a request, by column.

    `numbers`: float64 [rows, number columns], NaN for missing; `words`: one list per categorical column.
    """

    rows: int
    numbers: Floats
    words: list[list[str | None]]


class Intake:
    """The inputs of a signature. `unused`: columns of the training table that a row may also contain."""

    def __init__(self, features: Sequence[Feature], target: str = "", unused: Sequence[str] = ()) -> None:
        self.features = list(features)
        self.by_name = {feature.name: feature for feature in features}
        self.unused = {target, *unused}
        self.names = [feature.name for feature in features]
        self.number_at = [at for at, feature in enumerate(features) if feature.kind != "categorical"]
        self.word_at = [at for at, feature in enumerate(features) if feature.kind == "categorical"]
        self._pick: Callable[[Any], Any] = itemgetter(*self.names)
        numbers = [self.features[at] for at in self.number_at]
        self._mean = np.array([feature.mean for feature in numbers], dtype=np.float64)
        self._scale = np.array([feature.scale for feature in numbers], dtype=np.float64)
        self._indicators = [at for at, feature in enumerate(numbers) if feature.indicator]
        self._codes = [Codes(self.features[at]) for at in self.word_at]
        self._plain_names = {cells.plain_name(name): name for name in self.names}
        self._gone = [
            (to, sorted(gone))
            for to, feature in enumerate(numbers)
            if feature.contract is not None and (gone := cells.missing_numbers(feature.contract))
        ]
        self._flags = [to for to, feature in enumerate(numbers) if is_flag(feature)]
        # Where the word 0 or 1 means missing, 0 and false differ; one stack of numbers cannot distinguish them.
        self._never_plain = any(to in self._flags and not {0.0, 1.0}.isdisjoint(gone) for to, gone in self._gone)

    def stack(self, requests: Sequence[Sequence[Any]]) -> list[Block | BadInstance]:
        """Return each request's rows as a block, or the error of the request."""
        try:
            whole = self._plain(list(chain.from_iterable(requests)))
        except _NotPlain:
            return [self.one(request) for request in requests]
        blocks: list[Block | BadInstance] = []
        at = 0
        for request in requests:
            end = at + len(request)
            blocks.append(Block(end - at, whole.numbers[at:end], [column[at:end] for column in whole.words]))
            at = end
        return blocks

    def one(self, rows: Sequence[Any]) -> Block | BadInstance:
        """Return one request's rows as a block, or their error."""
        try:
            return self._plain(rows)
        except _NotPlain:
            pass
        try:
            named = [self._named(at, row) for at, row in enumerate(rows)]
            return self.columns({name: [row[name] for row in named] for name in self.names}, len(rows))
        except BadInstance as error:
            return error

    def columns(self, values: Mapping[str, Sequence[Any] | Floats], rows: int) -> Block:
        """Return columns by name as a block. Raises BadInstance."""
        numbers = np.empty((rows, len(self.number_at)), dtype=np.float64)
        for to, at in enumerate(self.number_at):
            numbers[:, to] = numbers_of(self.features[at], values[self.names[at]])
        return Block(rows, numbers, [words_of(self.features[at], values[self.names[at]]) for at in self.word_at])

    def matrix(self, numbers: Floats) -> Block:
        """Return numbers [rows, columns] as a block, NaN for missing; the signature has no categories.

        Raises BadInstance.
        """
        numbers = self._without_gone(numbers)
        bad = np.argwhere(np.isinf(numbers))
        if bad.size:
            row, at = int(bad[0][0]), int(bad[0][1])
            raise not_finite(self.names[at], row)
        for row, to in np.argwhere(no_flag(numbers[:, self._flags])):
            at = self._flags[to]
            raise refused(self.features[at], float(numbers[row, at]), int(row))
        return Block(len(numbers), numbers, [])

    def encode(self, block: Block) -> Encoded:
        """Encode a block as `features.encode` does, all number columns at once."""
        missing = np.isnan(block.numbers)
        standard = np.clip((block.numbers - self._mean) / self._scale, -CLIP, CLIP)
        numeric = np.empty((block.rows, len(self.number_at) + len(self._indicators)), dtype=np.float32)
        numeric[:, : len(self.number_at)] = np.where(missing, 0.0, standard)
        if self._indicators:
            numeric[:, len(self.number_at) :] = missing[:, self._indicators]
        codes = np.empty((block.rows, len(self.word_at)), dtype=np.int64)
        for at, (table, column) in enumerate(zip(self._codes, block.words, strict=True)):
            codes[:, at] = [table.of(word) for word in column]
        return Encoded(numeric, codes)

    def unknown(self, block: Block) -> list[tuple[int, str, str]]:
        """Return (row, column, word) of the categories unseen in training."""
        found = []
        for at, table, column in zip(self.word_at, self._codes, block.words, strict=True):
            if not table.known.keys() >= set(column):
                found += [
                    (row, self.names[at], str(word)) for row, word in enumerate(column) if table.of(word) == UNKNOWN
                ]
        return found

    def _plain(self, rows: Sequence[Any]) -> Block:
        """Stack rows in which every column is a number, a word or null. Raises _NotPlain."""
        if self._never_plain:
            raise _NotPlain
        width = len(self.names)
        found: list[Sequence[Any]] = []
        for row in rows:
            if len(row) != width if isinstance(row, dict | list) else True:
                raise _NotPlain
            try:
                found.append(row if type(row) is list else self._pick(row) if width > 1 else (self._pick(row),))
            except KeyError as error:
                raise _NotPlain from error
        try:
            if not self.word_at:
                if not NUMBERS.issuperset(map(type, chain.from_iterable(found))):
                    raise _NotPlain
                taken = found
                numbers = np.array(found, dtype=np.float64).reshape(len(found), width)
                words: list[list[str | None]] = []
            else:
                columns = list(zip(*found, strict=True)) or [()] * width
                taken = [columns[at] for at in self.number_at]
                if not NUMBERS.issuperset(map(type, chain.from_iterable(taken))):
                    raise _NotPlain
                numbers = np.array(taken, dtype=np.float64).reshape(len(taken), len(found)).T
                words = [words_of(self.features[at], columns[at]) for at in self.word_at]
        except (OverflowError, BadInstance) as error:
            raise _NotPlain from error
        # Both null and NaN are NaN by now; only null is allowed.
        if np.isinf(numbers).any() or np.isnan(numbers).sum() != sum(values.count(None) for values in taken):
            raise _NotPlain
        numbers = self._without_gone(numbers)
        if self._flags and no_flag(numbers[:, self._flags]).any():
            raise _NotPlain
        return Block(len(found), numbers, words)

    def _without_gone(self, numbers: Floats) -> Floats:
        """Turn numbers that mean missing, such as -999, into NaN."""
        for to, gone in self._gone:
            numbers = numbers.copy() if not numbers.flags.writeable else numbers
            numbers[np.isin(numbers[:, to], gone), to] = math.nan
        return numbers

    def _named(self, at: int, row: Any) -> Mapping[str, Any]:
        if isinstance(row, Mapping):
            given: Mapping[str, Any] = row
            if given.keys() - self.by_name.keys():
                given = {self._plain_names.get(cells.plain_name(str(name)), str(name)): row[name] for name in row}
            for name in given.keys() - self.by_name.keys():
                if name not in self.unused:
                    raise BadInstance(
                        f"Row {at}: {str(name)[:80]!r} is not a column of this model. Its columns: {_some(self.names)}.",
                        column=str(name)[:80],
                        row=at,
                    )
            absent = [name for name in self.names if name not in given]
            if absent:
                raise BadInstance(
                    f"Row {at} lacks {_some(absent)}. Name every column of the model, with null where there is no value.",
                    column=absent[0],
                    row=at,
                )
            return given
        if isinstance(row, str | bytes) or not isinstance(row, Sequence):
            raise BadInstance(
                f"Row {at} is neither an object by column name nor a list in the order of the signature.", row=at
            )
        if len(row) != len(self.names):
            raise BadInstance(
                f"Row {at} has {len(row)} values; the signature has {len(self.names)} columns: {_some(self.names)}.",
                row=at,
            )
        return dict(zip(self.names, row, strict=True))


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")


def join(blocks: Sequence[Block]) -> Block:
    """Concatenate blocks of one signature."""
    if len(blocks) == 1:
        return blocks[0]
    words = [list(chain.from_iterable(columns)) for columns in zip(*(block.words for block in blocks), strict=True)]
    return Block(sum(block.rows for block in blocks), np.concatenate([block.numbers for block in blocks]), words)
