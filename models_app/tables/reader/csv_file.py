"""Read a CSV file twice in bounded memory: once to infer its columns, once to convert them."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from models_app.runner_protocol import InputError
from models_app.tables.columns import decide
from models_app.tables.columns.convert import convert, trim
from models_app.tables.columns.guess import ColumnGuess
from models_app.tables.columns.stored import Cells, as_read, of_decision
from models_app.tables.limits import MAX_ROW_BYTES, MAX_ROWS, MIB
from models_app.tables.reader import dialect, padded, quotation_marks, text

BLOCK_BYTES = MAX_ROW_BYTES
COMMENTS, HEADERS = f"begin{{}} with {dialect.COMMENT}", "name{} the columns again"


@dataclass(frozen=True)
class CsvFile:
    """A CSV file with inferred columns; `decisions` are those of the columns kept."""

    path: Path
    dialect: dialect.Dialect
    decisions: tuple[decide.Decision, ...]
    rows: int
    warnings: tuple[str, ...]
    about: Mapping[str, Any] = field(default_factory=dict)

    def batches(self) -> Iterator[list[Cells]]:
        """Yield the rows: for each column its converted values and, if they hold less, the cells as written."""
        places = {name: at for at, name in enumerate(self.dialect.names)}
        for batch in _raw_batches(self.path, self.dialect):
            found = []
            for one in self.decisions:
                raw = batch.column(places[one.name])
                values, _ = convert(raw, one.contract, of_decision(one))
                found.append(Cells(one, values, raw if as_read(one) else None))
            yield found


def open_csv(
    source: Path,
    scratch: Path,
    *,
    target: str | None = None,
    choices: Mapping[str, Any] | None = None,
    writing: Mapping[str, str] | None = None,
) -> CsvFile:
    """Validate a CSV file and infer its columns; `scratch` is where the UTF-8 copy goes. Raises InputError.

    `writing`: `encoding` and `delimiter` if a person chose them.
    """
    known = writing or {}
    encoding, warnings = text.to_utf8(source, scratch, known.get("encoding", ""))
    shape = dialect.read_dialect(scratch, known.get("delimiter", ""))
    if padded.tighten(scratch, shape.delimiter):
        shape = dialect.read_dialect(scratch, shape.delimiter)
    shape, said = quotation_marks.unclosed(scratch, shape)
    warnings = [*warnings, *shape.warnings, *said]
    guesses = [ColumnGuess(name, nameless=name in shape.nameless) for name in shape.names]
    rows = 0
    left_out: Counter[str] = Counter()
    for batch in _raw_batches(scratch, shape, left_out):
        rows += batch.num_rows
        if rows > MAX_ROWS:
            raise InputError(
                "too_many_rows", f"The file has more than {MAX_ROWS:,} rows. Take a sample and upload that."
            )
        for guess, column in zip(guesses, batch.columns, strict=True):
            guess.see(column)
    if rows == 0:
        raise InputError("no_rows", "The file has a header but no rows. Add rows and upload again.")
    for what, count in left_out.items():
        one = count == 1
        warnings.append(
            f"{count:,} line{'' if one else 's'} among the rows {what.format('s' if one else '')} and {'was' if one else 'were'} left out."
        )
    kept = [one for one in guesses if not (one.nameless and one.values == 0)]
    if len(kept) < len(guesses):
        warnings.append("Columns without a name and without any value were left out.")
    if len(kept) < 2:
        raise InputError(*dialect.ONE_COLUMN)
    decisions = decide.decide(kept, target=target, delimiter=shape.delimiter, choices=choices)
    about = {"format": "csv", "encoding": encoding, "delimiter": shape.delimiter, "skipped": list(shape.skipped)}
    return CsvFile(scratch, shape, tuple(decisions), rows, tuple(warnings), about)


def _raw_batches(path: Path, shape: dialect.Dialect, left_out: Counter[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Yield the rows as text, without comments, repeated headers, and empty rows at the end.

    A comment starts with the comment sign and has fewer values than a row. `left_out` counts comments and headers.
    """
    left_out = Counter() if left_out is None else left_out
    ragged: list[csv.InvalidRow] = []

    def stop_at(row: csv.InvalidRow) -> str:
        if row.text.lstrip().startswith(dialect.COMMENT):
            left_out[COMMENTS] += 1
            return "skip"
        ragged.append(row)
        return "error"

    with path.open("rb") as file:
        file.seek(shape.offset)
        try:
            reader = csv.open_csv(
                file,
                read_options=csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES, column_names=list(shape.names)),
                parse_options=csv.ParseOptions(
                    delimiter=shape.delimiter,
                    quote_char='"' if shape.quoted else False,
                    newlines_in_values=shape.quoted,
                    invalid_row_handler=stop_at,
                ),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(shape.names, pa.string()), strings_can_be_null=False
                ),
            )
            yield from _without_last_empty(_without_headers(reader, shape, left_out))
        except pa.ArrowInvalid as error:
            raise _explain(error, ragged, shape) from error


def _without_headers(
    batches: Iterable[pa.RecordBatch], shape: dialect.Dialect, left_out: Counter[str]
) -> Iterator[pa.RecordBatch]:
    """Yield batches without rows that repeat the header, as in concatenated files."""
    for batch in batches:
        again = pa.scalar(True)
        for name, column in zip(shape.names, batch.columns, strict=True):
            again = pc.and_(again, pc.equal(trim(column), "" if name in shape.nameless else name))
            if not pc.any(again).as_py():
                yield batch
                break
        else:
            left_out[HEADERS] += pc.sum(again).as_py()
            yield batch.filter(pc.invert(again))


def _without_last_empty(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield batches without empty rows at the very end; empty rows in between stay."""
    waiting: list[pa.RecordBatch] = []
    for batch in batches:
        filled = batch.num_rows - _empty_at_the_end(batch)
        if filled:
            yield from waiting
            waiting.clear()
            yield batch.slice(0, filled)
        if filled < batch.num_rows:
            waiting.append(batch.slice(filled))


def _empty_at_the_end(batch: pa.RecordBatch) -> int:
    last = batch.num_rows - 1
    if last < 0 or any(column[last].as_py() for column in batch.columns):
        return 0
    empty = np.ones(batch.num_rows, dtype=bool)
    for column in batch.columns:
        empty &= np.asarray(pc.equal(column, ""))
    return int(np.argmin(empty[::-1])) if not empty.all() else batch.num_rows


def _explain(error: pa.ArrowInvalid, ragged: list[csv.InvalidRow], shape: dialect.Dialect) -> InputError:
    said = str(error)
    if ragged:
        row = ragged[0]
        place = f"Row {row.number:,}" if row.number else "A row"
        return InputError(
            "ragged_rows",
            f"{place} has {row.actual_columns} values, the header has {row.expected_columns} columns. "
            f"Check for a stray {shape.delimiter!r}, or a line break without quotation marks.",
        )
    if "straddling" in said or "truncated" in said.lower():
        return InputError(
            "row_too_long",
            f"A row is longer than {MAX_ROW_BYTES // MIB} MiB. Check for a quotation mark that is never closed.",
        )
    if said.startswith("Empty CSV"):
        return InputError("no_rows", "The file has a header but no rows. Add rows and upload again.")
    return InputError(
        "bad_csv",
        f"The file cannot be read as CSV: {re.sub(r'[^ -~]', '?', said)[:200]}. Correct that row and upload again.",
    )
