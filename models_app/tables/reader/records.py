"""Convert rows of typed cells, as in spreadsheets and JSON, to a temporary Parquet file: two passes, bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from models_app.runner_protocol import InputError
from models_app.tables.columns import cells
from models_app.tables.limits import MAX_COLUMNS, MAX_ROWS

CHUNK = 8_192
WHOLE, BROKEN, FLAG, MOMENT, TEXT = "whole", "broken", "flag", "moment", "text"
LARGEST = 2**63 - 1


@dataclass
class Kinds:
    """The kinds of cell in a column, and whether its numbers are whole and small enough."""

    found: set[str] = field(default_factory=set)
    fits: bool = True

    @property
    def stored(self) -> str:
        """Return the storage of the column: whole, broken, flag, moment or text."""
        if not self.fits:
            return TEXT
        if self.found <= {WHOLE, BROKEN} and self.found:
            return BROKEN if BROKEN in self.found else WHOLE
        return next(iter(self.found)) if len(self.found) == 1 else TEXT

    @property
    def mixed(self) -> bool:
        """Return whether numbers occur among text."""
        return self.stored == TEXT and self.fits and bool(self.found & {WHOLE, BROKEN}) and TEXT in self.found


def write(
    names: Sequence[str], rows: Callable[[], Iterable[Sequence[Any]]], target: Path, what: str
) -> tuple[set[int], set[int]]:
    """Write rows as Parquet; return the columns of mixed text and numbers, and those of text only.

    `rows` is called twice. `what` names the format in messages. Raises InputError.
    """
    if len(names) > MAX_COLUMNS:
        raise InputError(
            "too_many_columns", f"The file has {len(names):,} columns; the most is {MAX_COLUMNS:,}. Leave out columns."
        )
    kinds = [Kinds() for _ in names]
    count = 0
    for row in rows():
        count += 1
        if count > MAX_ROWS:
            raise InputError(
                "too_many_rows", f"The file has more than {MAX_ROWS:,} rows. Take a sample and upload that."
            )
        for at, value in enumerate(row):
            if value is not None and value != "":
                _see(kinds[at], value, names[at], what)
            elif value == "":
                kinds[at].found.add(TEXT)
    if not count:
        raise InputError("no_rows", "The file has a header but no rows. Add rows and upload again.")
    types = [
        {WHOLE: pa.int64(), BROKEN: pa.float64(), FLAG: pa.bool_(), MOMENT: pa.timestamp("us")}.get(
            one.stored, pa.string()
        )
        for one in kinds
    ]
    fields = [pa.field(str(at), kind) for at, kind in enumerate(types)]  # the reader makes names clean and unique
    schema = pa.schema(fields)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for chunk in _chunks(rows()):
            columns = list(zip(*chunk, strict=True))
            arrays = [
                pa.array([_kept(value, one.stored) for value in column], kind)
                for column, one, kind in zip(columns, kinds, types, strict=True)
            ]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=schema))
    mixed = {at for at, one in enumerate(kinds) if one.mixed}
    return mixed, {at for at, one in enumerate(kinds) if one.stored == TEXT} - mixed


def _chunks(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    left = iter(rows)
    while chunk := list(islice(left, CHUNK)):
        yield chunk


def _see(kinds: Kinds, value: Any, name: str, what: str) -> None:
    if isinstance(value, bool):
        kinds.found.add(FLAG)
    elif isinstance(value, int):
        kinds.found.add(WHOLE)
        kinds.fits = kinds.fits and -LARGEST - 1 <= value <= LARGEST
    elif isinstance(value, float):
        kinds.found.add(WHOLE if value.is_integer() and abs(value) < 2**53 else BROKEN)
    elif isinstance(value, datetime | date):
        kinds.found.add(MOMENT)
    elif isinstance(value, str | time | timedelta):
        kinds.found.add(TEXT)
    else:
        raise InputError(
            "unsupported_type",
            f"Column {name[:80]!r} holds {what}, which is not read. Use numbers, yes/no, dates or text, or leave the column out.",
        )


def _kept(value: Any, kind: str) -> Any:
    if value is None:
        return None
    if kind == TEXT:
        if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
            value = int(value)
        return value.isoformat(sep=" ") if isinstance(value, datetime) else cells.word(value)
    if value == "":
        return None
    if kind == WHOLE:
        return int(value)
    if kind == MOMENT:
        moment = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)  # noqa: DTZ001
        return moment.astimezone(UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return float(value) if kind == BROKEN else value
