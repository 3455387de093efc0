"""Convert whole text columns by their contract: like `cells.clean` for each cell, vectorised by Arrow for plain values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from models_app.tables.columns import cells, kinds
from models_app.tables.columns.contract import Contract

PLAIN = f"^(?:{cells.PLAIN})$"
INTEGER = r"^[+-]?(?:0|[1-9]\d{0,18})$"
ISO = r"^\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)?$"
ZONED = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:Z|[+-]\d\d:?\d\d)$"
STORED: dict[str, pa.DataType] = {
    kinds.NUMERIC: pa.float64(),
    kinds.BOOLEAN: pa.bool_(),
    kinds.DATETIME: pa.timestamp("us"),
    kinds.CATEGORICAL: pa.string(),
    kinds.TEXT: pa.string(),
    kinds.EMPTY: pa.string(),
}


def trim(raw: pa.Array) -> pa.Array:
    """Return text without blanks around it."""
    return pc.utf8_trim(raw, characters=cells.BLANKS)


def convert(raw: pa.Array, contract: Contract, kind: pa.DataType | None = None) -> tuple[pa.Array, int]:
    """Return a text column as values of the contract's type, and the number of unfit cells, which become null.

    `kind`: the Arrow type to store, int64 for whole numbers, a timestamp with a zone for zoned ones.
    """
    wanted = kind or STORED[contract.type]
    text = raw if contract.stored and contract.type in (kinds.CATEGORICAL, kinds.TEXT) else trim(raw)
    if contract.type in (kinds.CATEGORICAL, kinds.TEXT, kinds.EMPTY):
        return _words(text, contract), 0
    quick = _QUICK[contract.type](text, contract, wanted) if contract.type in _QUICK else pa.nulls(len(text), wanted)
    left = pc.and_(pc.is_valid(text), pc.is_null(quick))
    if not pc.any(left).as_py():
        return quick, 0
    slow, odd = _one_by_one(text.filter(left), contract, wanted)
    return pc.replace_with_mask(quick, left, slow), odd


def _words(text: pa.Array, contract: Contract) -> pa.Array:
    missing = [*contract.missing, *([] if contract.stored else [""])]
    if not missing:
        return text
    gone = pc.is_in(text, pa.array(missing, pa.string()))
    return pc.if_else(gone, pa.scalar(None, pa.string()), text)


def _numbers(text: pa.Array, contract: Contract, wanted: pa.DataType) -> pa.Array:
    """Parse bare numbers of the notation; decorated, odd and missing values stay null."""
    group, decimal = cells.notation(contract.number)
    plain = contract.number == "1234.5"
    bare = PLAIN if plain else f"^(?:{cells.body(contract.number)})$"
    if pa.types.is_integer(wanted) and plain:
        bare = INTEGER
    fits = pc.match_substring_regex(text, bare)
    digits = pc.if_else(fits, text, pa.scalar(None, pa.string()))
    digits = pc.utf8_ltrim(digits, characters="+")
    if not plain:
        if group:
            digits = pc.replace_substring_regex(digits, cells.GROUPS[group], "")
        digits = pc.replace_substring(digits, decimal, ".") if decimal != "." else digits
        digits = pc.replace_substring(digits, "−", "-")
    try:
        found = pc.cast(digits, wanted)
    except pa.ArrowInvalid:
        return pa.nulls(len(text), wanted)
    return without(found, contract)


def without(values: pa.Array, contract: Contract) -> pa.Array:
    """Return numbers or dates without those that mean missing, compared as float64 like everywhere."""
    gone = cells.missing_numbers(contract)
    if not gone:
        return values
    plain = values
    if pa.types.is_timestamp(values.type):
        plain = pc.divide(pc.cast(pc.cast(values, pa.int64()), pa.float64(), safe=False), 1_000_000.0)
    plain = pc.add(pc.cast(plain, pa.float64(), safe=False), 0.0)  # is_in distinguishes -0 and 0, nothing else does
    return pc.if_else(pc.is_in(plain, pa.array(sorted(gone), pa.float64())), pa.scalar(None, values.type), values)


def _dates(text: pa.Array, contract: Contract, wanted: pa.DataType) -> pa.Array:
    found = pa.nulls(len(text), pa.timestamp("us"))
    for pattern, kind in ((ISO, pa.timestamp("us")), (ZONED, pa.timestamp("us", "UTC"))):
        fits = pc.match_substring_regex(text, pattern)
        if not pc.any(fits).as_py():
            continue
        part = pc.if_else(fits, text, pa.scalar(None, pa.string()))
        part = pc.replace_substring(part, " ", "T", max_replacements=1)
        if kind.tz:
            part = pc.replace_substring_regex(part, r"([+-]\d\d):?(\d\d)$", r"\1:\2")
        try:
            found = pc.coalesce(found, pc.cast(pc.cast(part, kind), pa.int64()).cast(pa.timestamp("us")))
        except pa.ArrowInvalid:  # contains a day that does not exist in its month
            continue
    found = without(found, contract)
    return pc.cast(pc.cast(found, pa.int64()), wanted)


_QUICK: dict[str, Callable[[pa.Array, Contract, pa.DataType], pa.Array]] = {
    kinds.NUMERIC: _numbers,
    kinds.DATETIME: _dates,
}


def _one_by_one(text: pa.Array, contract: Contract, wanted: pa.DataType) -> tuple[pa.Array, int]:
    coded = text.dictionary_encode()
    values: list[Any] = []
    odd: list[int] = []
    stamp = pa.types.is_timestamp(wanted)
    for at, word in enumerate(coded.dictionary.to_pylist()):
        try:
            value = cells.clean(word, contract)
        except cells.Odd:
            value = None
            odd.append(at)
        if value is not None:
            value = round(float(value) * 1_000_000) if stamp else _fitting(value, wanted)
            if value is None:
                odd.append(at)
        values.append(value)
    made = pa.array(values, pa.int64() if stamp else wanted)
    made = pc.cast(made, wanted) if stamp else made
    count = int(pc.sum(pc.is_in(coded.indices, pa.array(odd, pa.int32()))).as_py() or 0) if odd else 0
    return made.take(coded.indices), count


def _fitting(value: Any, wanted: pa.DataType) -> Any:
    """Return a value as the Arrow type represents it, or None if it cannot."""
    if pa.types.is_integer(wanted):
        return value if isinstance(value, int) and -(2**63) <= value < 2**63 else None
    if pa.types.is_floating(wanted):
        try:
            return float(value)
        except OverflowError:
            return None
    return value
