"""Decide what each text column holds, batch by batch, and convert it once decided.

A column starts able to be anything; each batch strikes out what its values rule out. Numbers with leading zeros
stay text, as they are codes. Decimal commas count only where the comma is not the delimiter.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import pyarrow.compute as pc

from models_app.datasets import kinds
from models_app.datasets.limits import MAX_VALUE_BYTES
from models_app.runner.protocol import InputError

MISSING = pa.array(["", "na", "n/a", "nan", "null", "none", "?", "#n/a", "-nan", "nat"])
TRUE = pa.array(["true", "yes", "t", "y"])
BOOLEAN = pa.array(["true", "false", "yes", "no", "t", "f", "y", "n"])

_INTEGER = r"^[+-]?(0|[1-9]\d{0,17})$"
_NUMBER = r"^[+-]?((0|[1-9]\d*)(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"
_COMMA = r"^[+-]?(0|[1-9]\d*),\d+$"
_DATE = r"^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?)?$"
_ZONED = r"^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d:?\d\d)$"
_INFINITE = pa.array([sign + word for sign in ("", "+", "-") for word in ("inf", "infinity")])

TYPES: dict[str, pa.DataType] = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "comma": pa.float64(),
    "boolean": pa.bool_(),
    "date": pa.timestamp("us"),
    "zoned": pa.timestamp("us", "UTC"),
    "text": pa.string(),
    "empty": pa.string(),
}
KIND = {
    "integer": kinds.NUMERIC,
    "number": kinds.NUMERIC,
    "comma": kinds.NUMERIC,
    "boolean": kinds.BOOLEAN,
    "date": kinds.DATETIME,
    "zoned": kinds.DATETIME,
    "empty": kinds.EMPTY,
}


@dataclass
class ColumnGuess:
    """What one column may still be, after the batches seen so far."""

    name: str
    comma_allowed: bool = False
    possible: list[str] = field(default_factory=lambda: ["integer", "number", "comma", "boolean", "date", "zoned"])
    values: int = 0
    infinite: int = 0
    distinct: set[str] = field(default_factory=set)

    def see(self, raw: pa.Array) -> None:
        """Take one batch of text into account. Raises InputError for a value too long to keep."""
        longest = pc.max(pc.binary_length(raw)).as_py()
        if longest is not None and longest > MAX_VALUE_BYTES:
            raise InputError(
                "value_too_long",
                f"A value in column {self.name!r} is longer than {MAX_VALUE_BYTES:,} bytes. Leave out that column, or check for a quotation mark that is never closed.",
            )
        cleaned = clean(raw).drop_null()
        self.values += len(cleaned)
        if len(cleaned) and self.possible:
            finite = cleaned.filter(pc.invert(pc.is_in(pc.utf8_lower(cleaned), _INFINITE)))
            self.infinite += len(cleaned) - len(finite)
            self.possible = [
                kind for kind in self.possible if (kind != "comma" or self.comma_allowed) and self._fits(kind, finite)
            ]
        if len(self.distinct) <= kinds.MAX_CATEGORIES:
            self.distinct.update(pc.unique(cleaned)[: kinds.MAX_CATEGORIES + 1].to_pylist())

    def decide(self) -> tuple[str, str]:
        """Return the storage type's name (a key of TYPES) and the kind. Raises InputError for infinite numbers."""
        if self.values == 0:
            return "empty", kinds.EMPTY
        if self.infinite and self.possible and self.infinite < self.values:
            found = "1 infinite value" if self.infinite == 1 else f"{self.infinite:,} infinite values"
            raise InputError(
                "infinite_value",
                f"Column {self.name!r} holds {found}. Replace what is infinite by empty cells or real numbers.",
            )
        if self.possible and not self.infinite:
            return self.possible[0], KIND[self.possible[0]]
        return "text", text_kind(len(self.distinct), self.values)

    def _fits(self, kind: str, values: pa.Array) -> bool:
        if kind == "boolean":
            return bool(pc.all(pc.is_in(pc.utf8_lower(values), BOOLEAN)).as_py() is not False)
        pattern = {"integer": _INTEGER, "number": _NUMBER, "comma": _COMMA, "date": _DATE, "zoned": _ZONED}[kind]
        if kind == "comma":
            pattern = f"{_COMMA}|{_INTEGER}"
        if pc.all(pc.match_substring_regex(values, pattern)).as_py() is False:
            return False
        try:
            convert(values, kind)
        except pa.ArrowInvalid:
            return False
        return True


def text_kind(distinct: int, values: int) -> str:
    """Return whether text with so many different values is categories or free text."""
    few = distinct <= kinds.MAX_CATEGORIES and (distinct <= 20 or distinct * 2 <= values)
    return kinds.CATEGORICAL if few else kinds.TEXT


def clean(raw: pa.Array) -> pa.Array:
    """Trim blanks and turn the usual words for a missing value into null."""
    trimmed = pc.utf8_trim_whitespace(raw)
    missing = pc.is_in(pc.utf8_lower(trimmed), MISSING)
    return pc.if_else(missing, pa.scalar(None, pa.string()), trimmed)


def convert(values: pa.Array, kind: str) -> pa.Array:
    """Turn cleaned text into the storage type of `kind`. Raises ArrowInvalid when a value does not fit."""
    if kind in ("text", "empty"):
        return values
    if kind == "boolean":
        lower = pc.utf8_lower(values)
        return pc.if_else(pc.is_null(lower), pa.scalar(None, pa.bool_()), pc.is_in(lower, TRUE))
    if kind in ("integer", "number", "comma"):
        values = pc.utf8_ltrim(values, characters="+")
        if kind == "comma":
            values = pc.replace_substring(values, ",", ".")
    if kind in ("date", "zoned"):
        values = pc.replace_substring(values, " ", "T", max_replacements=1)
    if kind == "zoned":
        values = pc.replace_substring_regex(values, r"([+-]\d\d):?(\d\d)$", r"\1:\2")
    return pc.cast(values, TYPES[kind])
