"""Storage of a column in the canonical Parquet: values, contract, and cells as written if they hold more."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from models_app.tables.columns import convert, kinds
from models_app.tables.columns.contract import DATES, NUMBERS, Contract
from models_app.tables.columns.decide import Decision

CONTRACT_KEY = b"exchequer.contract"
RAW = "\x01"
r"""The cells of column `a` as written are in the column `\x01a`, a name that no person's column has."""


@dataclass(frozen=True)
class Cells:
    """One column of a batch."""

    decision: Decision
    values: pa.Array
    raw: pa.Array | None


@dataclass(frozen=True)
class StoredColumn:
    """Metadata of a column in the canonical Parquet. `contract` is None for a column older than contracts.

    `doubt`: its numbers or dates are ambiguous. `can_be`: how many of its `values` fit each type. `raw`: its cells are
    also kept as written. `chosen_missing`: a person chose its words for missing. `odd`: counts of words of another
    type. `clear`, `voted`: as in `Decision`. `whole`: it is stored as whole numbers.
    """

    name: str
    kind: str
    contract: Contract | None
    doubt: bool
    values: int
    can_be: Mapping[str, int]
    raw: bool
    chosen_missing: bool = False
    odd: Mapping[str, int] = field(default_factory=dict)
    clear: Mapping[str, str] = field(default_factory=dict)
    voted: tuple[str, ...] = ()
    whole: bool = False


def of_decision(one: Decision) -> pa.DataType:
    """Return the Arrow type for a column of text."""
    return pa.int64() if one.whole and one.contract.type == kinds.NUMERIC else convert.STORED[one.contract.type]


def as_read(one: Decision) -> bool:
    """Return whether the cells as written are stored beside the values.

    They are if they hold more that a later reader may need.
    """
    contract = one.contract
    if contract.type == kinds.DATETIME and contract.date != DATES[0]:
        return True
    if contract.type == kinds.TEXT or not (one.few or one.doubt or one.voted):
        return False
    if contract.type == kinds.EMPTY:
        return bool(set(one.missing) - {""})
    if contract.type == kinds.NUMERIC and one.whole and contract.number == NUMBERS[0]:
        return bool(set(one.missing) - {""})
    return contract.type != kinds.CATEGORICAL or bool(set(one.missing) - {""})


def kind_of(one: Decision) -> str:
    """Return the kind of a column as read: a column without values is empty, whatever its type."""
    there = one.values - sum(count for word, count in one.missing.items() if word)
    return one.contract.type if there > 0 else kinds.EMPTY


def fields(columns: list[Cells]) -> list[pa.Field]:
    """Return the fields of the canonical Parquet: the columns, then the cells as written."""
    found = []
    for one in columns:
        stored = {
            "contract": one.decision.contract.to_json(), "doubt": one.decision.doubt, "voted": list(one.decision.voted),
            "values": one.decision.values, "can_be": dict(one.decision.can_be), "chosen_missing": one.decision.chosen_missing,
            "odd": {word["value"]: word["count"] for word in one.decision.odd}, "clear": dict(one.decision.clear),
        }  # fmt: skip
        metadata = {kinds.KIND_KEY: kind_of(one.decision).encode(), CONTRACT_KEY: json.dumps(stored).encode()}
        found.append(pa.field(one.decision.name, one.values.type, metadata=metadata))
    return found + [
        pa.field(RAW + one.decision.name, pa.string(), metadata={kinds.KIND_KEY: kinds.TEXT.encode()})
        for one in columns
        if one.raw is not None
    ]


def columns_of(schema: pa.Schema) -> dict[str, StoredColumn]:
    """Return the column metadata of a canonical Parquet file, in file order."""
    names = set(schema.names)
    found = {}
    for one in schema:
        if one.name.startswith(RAW):
            continue
        metadata = one.metadata or {}
        stored: dict[str, Any] = json.loads(metadata.get(CONTRACT_KEY, b"{}"))
        found[one.name] = StoredColumn(
            name=one.name,
            kind=metadata.get(kinds.KIND_KEY, kinds.TEXT.encode()).decode(),
            contract=Contract.from_json(stored["contract"]) if stored else None,
            doubt=bool(stored.get("doubt")),
            values=stored.get("values", 0),
            can_be=stored.get("can_be", {}),
            raw=RAW + one.name in names,
            chosen_missing=bool(stored.get("chosen_missing")),
            odd=stored.get("odd", {}),
            clear=stored.get("clear", {}),
            voted=tuple(stored.get("voted", ())),
            whole=pa.types.is_integer(one.type),
        )
    return found
