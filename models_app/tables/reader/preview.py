"""The first rows of a version for its page: short, printable text, read in the sandbox and stored with the profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models_app.tables.columns.stored import RAW, columns_of

ROWS = 20
COLUMNS = 200
LETTERS = 80
"""A longer value is truncated: a preview shows what a column looks like, and is kept small."""


def preview(path: Path) -> dict[str, Any]:
    """Return `columns` (the first COLUMNS names) and `rows` (the first ROWS, texts or None) of a canonical Parquet file."""
    file = pq.ParquetFile(path)
    stored = list(columns_of(file.schema_arrow).values())[:COLUMNS]
    names = [one.name for one in stored]
    shown = [RAW + one.name if one.raw else one.name for one in stored]  # as written, if stored
    first = next(file.iter_batches(batch_size=ROWS, columns=shown, use_threads=False))
    texts = [_texts(first.column(name)) for name in shown]
    return {"columns": names, "rows": [[_shown(text) for text in row] for row in zip(*texts, strict=True)]}


def _texts(column: pa.Array) -> list[str | None]:
    if pa.types.is_timestamp(column.type):  # without its zone, which is UTC: the sandbox has no time zone data
        column = column.cast(pa.timestamp(column.type.unit))
    found: list[str | None] = column.cast(pa.string()).to_pylist()
    return found


def _shown(text: str | None) -> str | None:
    """Return a value truncated to LETTERS, without characters that affect the text around it."""
    if text is None:
        return None
    cut = text if len(text) <= LETTERS else f"{text[: LETTERS - 1]}…"
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in cut)
