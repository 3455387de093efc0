"""Notes on how a batch prediction read its file: what counted as missing, and unknown categories. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from models_app.recipes.columns import listed
from models_app.tables.columns.contract import DATES, NUMBERS

MOST = 20
ORDERS = dict(zip(DATES, ("year first", "day first", "month first"), strict=True))


def notes(result: Mapping[str, Any], signature: Mapping[str, Any]) -> list[str]:
    """Return sentences about a run's result, as its child reported it; only columns of the model are named."""
    names = [str(one["name"]) for one in signature.get("inputs", [])]
    missing, unknown, otherwise, doubted = (
        found if isinstance(found := result.get(key), Mapping) else {}
        for key in ("taken_as_missing", "unknown_categories", "read_as_written", "read_as_trained")
    )
    empty = [name for name in names if name in (result.get("empty_columns") or ())]
    found = []
    for name in names:
        if isinstance(count := missing.get(name), int) and count > 0:
            found.append(f"Column {name}: {_cells(count)} not of the model's type and read as missing.")
        if isinstance(count := unknown.get(name), int) and count > 0:
            found.append(f"Column {name}: {_cells(count)} in a category that is not in the training data.")
        notation = otherwise.get(name)
        if notation in NUMBERS:
            found.append(
                f"Column {name}: numbers are written as {notation}, unlike in training, and were read that way."
            )
        elif notation in DATES:
            found.append(
                f"Column {name}: dates are written {ORDERS[notation]}, unlike in training, and were read that way."
            )
        if (held := doubted.get(name)) in NUMBERS + DATES:
            way = f"numbers as {held}" if held in NUMBERS else f"dates {ORDERS[str(held)]}"
            found.append(
                f"Column {name} can be read in two ways, and was read as in training: {way}. If that is wrong, choose how it is written on the dataset's page."
            )
    if empty:
        found.append(f"Without any value, read as missing: {listed(empty, quoted=False)}.")
    more = len(found) - MOST
    return [*found[:MOST], f"And {more:,} more such columns; the job's log names them."] if more > 0 else found


def _cells(count: int) -> str:
    return "1 cell is" if count == 1 else f"{count:,} cells are"
