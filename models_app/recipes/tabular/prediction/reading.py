"""Read a column of a later table by the model's contract, whatever the table's own contract."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models_app.recipes.tabular.features import Feature, Floats, Strings
from models_app.recipes.tabular.table import numbers
from models_app.tables.columns import cells, kinds
from models_app.tables.columns.contract import DATES, NUMBERS, Contract
from models_app.tables.columns.convert import convert
from models_app.tables.columns.stored import StoredColumn
from models_app.tables.columns.typed import words

BEFORE = tuple(
    sorted(
        {
            spelled
            for word in ("na", "n/a", "nan", "null", "none", "?", "#n/a", "-nan", "nat")
            for spelled in (word, word.upper(), word.title(), word.replace("nan", "NaN"), word.replace("nat", "NaT"))
        }
    )
)
"""Words for missing in every column of text before columns had contracts."""


def contract_of(feature: Feature) -> Contract:
    """Return the contract of a feature; for a model older than contracts, the rules of that time."""
    return feature.contract or Contract(feature.kind, missing=BEFORE)


def values_of(
    feature: Feature, stored: StoredColumn, typed: pa.Array, raw: pa.Array | None
) -> tuple[Floats | Strings, int]:
    """Return a feature's values from a batch of a stored column, and the number of unfit cells.

    Unfit cells have another type and are missing. `raw`: the cells as written, if the table keeps them.
    """
    contract = contract_of(feature)
    written = raw if raw is not None else typed
    if feature.kind == kinds.CATEGORICAL:
        exact = contract.stored and stored.contract is not None and stored.contract.stored
        text, _ = convert(words(written), replace(contract, stored=exact))
        return strings(text), 0
    if stored.kind == kinds.EMPTY:
        return np.full(len(typed), np.nan), 0
    by_word = feature.kind == kinds.BOOLEAN and bool({0.0, 1.0} & cells.missing_numbers(contract))
    asked = raw is not None and (by_word or stored.doubt or _otherwise(contract, stored))
    if stored.kind == feature.kind and not asked:
        own = numbers(pa.chunked_array([typed]), feature.kind)
        return own if by_word else _without(contract, own), 0
    if pa.types.is_string(written.type):
        held = replace(contract, stored=False)
        if notation := own_notation(feature, stored):
            held = replace(held, number=notation) if feature.kind == kinds.NUMERIC else replace(held, date=notation)
        found, odd = convert(written, held)
        return numbers(pa.chunked_array([found]), feature.kind), odd
    plain = _without(contract, numbers(pa.chunked_array([typed]), stored.kind))
    fits = ~np.isnan(plain) & (
        np.isin(plain, (0, 1)) if feature.kind == kinds.BOOLEAN else stored.kind == kinds.BOOLEAN
    )
    odd = int((~np.isnan(plain) & ~fits).sum())
    return np.where(fits, plain, np.nan), odd


def as_in_training(used: Sequence[tuple[Feature, StoredColumn]]) -> list[tuple[Feature, StoredColumn]]:
    """Return columns with only their own evidence, unless one of the same kind changed its notation.

    Changed means: is itself written differently than in training. Evidence from neighbouring columns counts only in a file unlike the
    training's.
    """
    unlike = {feature.kind for feature, one in used if _is_unlike(feature, one)}
    return [(feature, one if feature.kind in unlike else _alone(one, feature.kind)) for feature, one in used]


def _is_unlike(feature: Feature, stored: StoredColumn) -> bool:
    contract, notation = contract_of(feature), stored.clear.get(feature.kind, "")
    if not notation or feature.kind in stored.voted:
        return False
    if feature.kind == kinds.DATETIME:
        return notation not in (DATES[0], contract.date)
    return not stored.whole and cells.notation(notation)[1] != cells.notation(contract.number)[1]


def _alone(stored: StoredColumn, kind: str) -> StoredColumn:
    if kind not in stored.voted or (stored.contract is not None and stored.contract.fixed):
        return stored
    return replace(stored, doubt=True, clear={one: notation for one, notation in stored.clear.items() if one != kind})


def _otherwise(contract: Contract, stored: StoredColumn) -> bool:
    """Return whether a person chose the model's notation of numbers or dates, and nobody chose another for this table."""
    return contract.fixed and not (stored.contract is not None and stored.contract.fixed)


def own_notation(feature: Feature, stored: StoredColumn) -> str:
    """Return the table's notation of numbers or dates if it clearly differs from the model's; else empty."""
    contract, notation = contract_of(feature), stored.clear.get(feature.kind, "")
    held = {kinds.NUMERIC: contract.number, kinds.DATETIME: contract.date}.get(feature.kind, notation)
    # Whole numbers, and dates that start with the year, are written the same in every notation.
    neutral = notation in (held, NUMBERS[0], DATES[0])
    return "" if not notation or neutral or _otherwise(contract, stored) else notation


def in_doubt(feature: Feature, stored: StoredColumn) -> str:
    """Return the model's notation if the table's column is ambiguous and its own page shows the other one; else empty."""
    contract, theirs = contract_of(feature), stored.contract
    if not stored.doubt or theirs is None or theirs.type != feature.kind:
        return ""
    held, notation = (one.number if feature.kind == kinds.NUMERIC else one.date for one in (contract, theirs))
    return held if held != notation else ""


def slips(feature: Feature, stored: StoredColumn) -> int:
    """Return the number of cells that the table reads as missing and the model's contract does not."""
    contract = contract_of(feature)
    read_anew = stored.doubt or _otherwise(contract, stored)
    if stored.kind != feature.kind or (read_anew and stored.raw) or feature.kind == kinds.CATEGORICAL:
        return 0
    return sum(count for word, count in stored.odd.items() if not cells.absent(word, contract))


def strings(text: pa.Array) -> Strings:
    """Return a column of text as a dictionary."""
    coded = text.dictionary_encode()
    indices = pc.fill_null(coded.indices, -1).to_numpy(zero_copy_only=False).astype(np.int32)
    return Strings(indices, coded.dictionary.to_pylist())


def _without(contract: Contract, values: Floats) -> Floats:
    gone = cells.missing_numbers(contract)
    return np.where(np.isin(values, sorted(gone)), np.nan, values) if gone else values
