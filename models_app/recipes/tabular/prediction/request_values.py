"""Values of one column in a request: read by the column's contract, or refused with name and row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models_app.recipes.columns import WORDS as TYPES
from models_app.recipes.tabular.features import Feature, Floats
from models_app.tables.columns import cells

WORDS = frozenset({str, int, float, bool, type(None)})


class BadInstance(ValueError):
    """A row to predict does not fit the signature. The message names the row (from 0) and the column."""

    def __init__(self, message: str, *, column: str = "", row: int | None = None) -> None:
        super().__init__(message)
        self.column = column
        self.row = row


def not_finite(column: str, row: int) -> BadInstance:
    """Return the error for NaN or infinity."""
    return BadInstance(
        f"Row {row}, column {column!r}: NaN and infinity are not allowed; null means missing.", column=column, row=row
    )


def words_of(feature: Feature, values: Sequence[Any] | NDArray[Any]) -> list[str | None]:
    """Return the values of a categorical column. Raises BadInstance."""
    found: list[str | None] = []
    for row, value in enumerate(values.tolist() if isinstance(values, np.ndarray) else values):
        if type(value) not in WORDS:
            raise BadInstance(
                f"Row {row}, column {feature.name!r} takes words, not {shown(value)}.", column=feature.name, row=row
            )
        if feature.contract is not None:
            found.append(None if value is None else cells.clean(value, feature.contract))  # type: ignore[arg-type]
        else:
            found.append(None if value is None else value if type(value) is str else cells.word(value))
    return found


def refused(feature: Feature, value: Any, row: int) -> BadInstance:
    """Return the error for a value that a column does not accept."""
    takes = "yes or no (true, false, 1, 0 or null)" if is_flag(feature) else TYPES[feature.kind]
    return BadInstance(
        f"Row {row}, column {feature.name!r} takes {takes}, not {shown(value)}.", column=feature.name, row=row
    )


def is_flag(feature: Feature) -> bool:
    """Return whether a column holds only booleans. A model older than contracts accepts any number there."""
    return feature.kind == "boolean" and feature.contract is not None


def no_flag(numbers: Floats) -> NDArray[np.bool_]:
    """Return a mask of the numbers that are neither true, false nor missing."""
    return ~(np.isnan(numbers) | np.isin(numbers, (0, 1)))


def numbers_of(feature: Feature, values: Sequence[Any] | NDArray[Any]) -> NDArray[np.float64] | list[float]:
    """Return the values of a numeric column, NaN for missing. Raises BadInstance."""
    if isinstance(values, np.ndarray):
        numbers = values.astype(np.float64)
        bad = np.flatnonzero(np.isinf(numbers))
        if bad.size:
            raise not_finite(feature.name, int(bad[0]))
        flags = is_flag(feature) and values.dtype == np.bool_  # a typed false is not the word `0`
        if not flags and feature.contract is not None and (gone := cells.missing_numbers(feature.contract)):
            numbers[np.isin(numbers, sorted(gone))] = math.nan
        for row in np.flatnonzero(no_flag(numbers)) if is_flag(feature) else ():
            raise refused(feature, values[row].item(), int(row))
        return numbers
    return [_number(feature, value, row) for row, value in enumerate(values)]


def _number(feature: Feature, value: Any, row: int) -> float:
    if value is None or value == "":
        return math.nan
    try:
        number = number_of(feature, value)
    except (TypeError, ValueError, OverflowError) as error:
        raise refused(feature, value, row) from error
    said_nothing = feature.contract is not None and (type(value) is str or math.isfinite(value))
    if not math.isfinite(number) and not (math.isnan(number) and said_nothing):
        raise not_finite(feature.name, row)
    return number


def number_of(feature: Feature, value: Any) -> float:
    """Return one value of a numeric column as training read it, NaN for missing.

    Raises TypeError, ValueError, OverflowError.
    """
    if feature.contract is not None:
        if isinstance(value, float) and math.isnan(value):
            return value
        found = cells.clean(value, feature.contract)
        return math.nan if found is None else float(found)
    if isinstance(value, str) and "_" in value:
        raise ValueError(value)
    if feature.kind == "boolean" and isinstance(value, str):
        said = value.strip().lower()
        if said not in cells.TRUE | cells.FALSE:
            raise ValueError(said)
        return float(said in cells.TRUE)
    if feature.kind == "datetime" and isinstance(value, str):
        moment = datetime.fromisoformat(value)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    return float(value)


def shown(value: Any) -> str:
    """Return a value for a sentence, truncated."""
    return repr(value)[:40]
