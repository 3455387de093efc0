"""Columns of a typed format: text is kept as stored unless a person chooses otherwise."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from models_app.runner_protocol import InputError
from models_app.tables.columns import cells as clean_cells
from models_app.tables.columns import decide as by_evidence
from models_app.tables.columns import kinds
from models_app.tables.columns.contract import Contract
from models_app.tables.columns.convert import convert, without
from models_app.tables.columns.decide import Decision
from models_app.tables.columns.guess import ColumnGuess
from models_app.tables.columns.infer import text_kind
from models_app.tables.columns.stored import Cells, as_read, of_decision

LARGEST = 2**63 - 1


@dataclass
class TypedGuess:
    """Evidence from a column of numbers, dates or booleans.

    `large`: whole numbers beyond int64; `flags`: how many are 0 or 1.
    """

    name: str
    type: pa.DataType
    nameless: bool = False
    rows: int = 0
    values: int = 0
    large: bool = False
    flags: int = 0
    different: set[Any] = field(default_factory=set)

    def see(self, column: pa.Array) -> None:
        """Count one batch."""
        known = column.drop_null()
        self.rows += len(column)
        self.values += len(known)
        if len(known) and not self.large and (pa.types.is_uint64(self.type) or pa.types.is_decimal(self.type)):
            bounds = pc.min_max(known)
            self.large = bounds["max"].as_py() > LARGEST or bounds["min"].as_py() < -LARGEST - 1
        if len(known) and not (pa.types.is_timestamp(self.type) or pa.types.is_boolean(self.type)):
            self.flags += int(pc.sum(pc.is_in(known, pa.array([0, 1]).cast(known.type))).as_py() or 0)
        if len(self.different) <= kinds.MAX_CATEGORIES:
            plain = (
                known.cast(pa.int64()) if pa.types.is_timestamp(self.type) else known
            )  # years outside the range of Python's dates
            self.different.update(pc.unique(plain)[: kinds.MAX_CATEGORIES + 1].to_pylist())


Guess = TypedGuess | ColumnGuess


def guess(name: str, kind: pa.DataType, *, nameless: bool, mixed: bool, dated: bool) -> Guess:
    """Return the guess object for a column of this type."""
    if pa.types.is_string(kind):
        return ColumnGuess(name, stored=True, nameless=nameless, as_text=not (mixed or dated), dates_only=dated)
    return TypedGuess(name, kind, nameless)


def decide(guesses: Sequence[Guess], *, target: str | None, choices: Mapping[str, Any] | None) -> list[Decision]:
    """Return how to read each column. Raises InputError for impossible choices."""
    texts = [one for one in guesses if isinstance(one, ColumnGuess)]
    found = {one.name: one for one in by_evidence.decide(texts, target=target, choices=choices)}
    return [
        found[one.name] if isinstance(one, ColumnGuess) else _typed(one, (choices or {}).get(one.name, {}))
        for one in guesses
    ]


def cells(one: Decision, column: pa.Array) -> Cells:
    """Return a batch of a column, read by its contract."""
    if pa.types.is_string(column.type):
        values, _ = convert(column, one.contract, of_decision(one))
        return Cells(one, values, column if as_read(one) else None)
    contract = one.contract
    whole = pa.types.is_uint64(column.type) or pa.types.is_decimal(column.type)
    if contract.type in (kinds.CATEGORICAL, kinds.TEXT):
        return Cells(one, convert(words(column), contract)[0], None)
    if contract.type == kinds.EMPTY:
        return Cells(one, pa.nulls(len(column), pa.string()), None)
    if whole:
        column = pc.cast(column, pa.int64() if one.whole else pa.float64(), safe=False)
    if contract.type == kinds.NUMERIC and pa.types.is_boolean(column.type):
        column = pc.cast(column, pa.int64())
    column = column if pa.types.is_boolean(column.type) else without(column, contract)
    if contract.type == kinds.BOOLEAN and not pa.types.is_boolean(column.type):
        column = pc.if_else(pc.or_(pc.equal(column, 0), pc.equal(column, 1)), column, pa.scalar(None, column.type))
        return Cells(one, pc.cast(column, pa.bool_()), None)
    return Cells(one, column, None)


def words(column: pa.Array) -> pa.Array:
    """Return a typed column as the words of its categories."""
    if pa.types.is_string(column.type):
        return column
    if pa.types.is_timestamp(column.type):
        return pc.strftime(column, format="%Y-%m-%dT%H:%M:%S")
    coded = column.dictionary_encode()
    plain = [None if value is None else clean_cells.word(value) for value in coded.dictionary.to_pylist()]
    return pa.array(plain, pa.string()).take(coded.indices)


def _typed(one: TypedGuess, choice: Mapping[str, Any]) -> Decision:
    kind = _kind(one)
    role = "identifier" if one.nameless else "feature"
    inferred = Contract(kind, stored=True, role=role)
    can_be = dict.fromkeys((kinds.NUMERIC, kinds.DATETIME, kinds.BOOLEAN), 0)
    can_be |= {kinds.CATEGORICAL: one.values, kinds.TEXT: one.values, kind: one.values}
    if kind == kinds.BOOLEAN:
        can_be[kinds.NUMERIC] = one.values
    elif kind == kinds.NUMERIC:
        can_be[kinds.BOOLEAN] = one.flags
    held = inferred.chosen(choice)
    if one.values == 0:
        held = replace(held, type=kinds.EMPTY)
    elif not can_be.get(held.type):
        raise InputError(
            "column_unfit", f"No value of column {one.name!r} can be read as {held.type}. Choose another type."
        )
    whole = pa.types.is_integer(one.type) or (pa.types.is_decimal(one.type) and not one.large)
    evidence = "Whole numbers beyond 2^63 are kept as text, exactly." if one.large and kind != kinds.NUMERIC else ""
    if held.type == kinds.BOOLEAN and can_be[kinds.BOOLEAN] < one.values:
        evidence = f"{one.flags:,} of {one.values:,} values are 0 or 1; the others are taken as missing."
    missing = {"": one.rows - one.values} if one.rows > one.values else {}
    return Decision(
        name=one.name, inferred=inferred, contract=held, whole=whole, values=one.values, can_be=can_be, evidence=evidence,
        missing=missing, chosen_missing=choice.get("missing") is not None,
    )  # fmt: skip


def _kind(one: TypedGuess) -> str:
    if one.values == 0:
        return kinds.EMPTY
    if pa.types.is_boolean(one.type):
        return kinds.BOOLEAN
    if pa.types.is_timestamp(one.type):
        return kinds.DATETIME
    if pa.types.is_uint64(one.type) and one.large:
        return text_kind(len(one.different), one.values)
    return kinds.NUMERIC
