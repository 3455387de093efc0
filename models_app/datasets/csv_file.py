"""Read a CSV file twice in bounded memory: once to learn the types, once to convert."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from models_app.datasets import column_types, text
from models_app.datasets.limits import MAX_ROW_BYTES, MAX_ROWS, MIB
from models_app.runner.protocol import InputError

BLOCK_BYTES = MAX_ROW_BYTES


@dataclass(frozen=True)
class CsvFile:
    """A CSV file whose columns are known. `kinds` maps names to kinds in the order of the file."""

    path: Path
    dialect: text.Dialect
    types: tuple[str, ...]
    kinds: dict[str, str]
    rows: int
    warnings: tuple[str, ...]

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield the rows, converted to the types of their columns."""
        for batch in _raw_batches(self.path, self.dialect):
            columns = [
                column_types.convert(column_types.clean(column), kind)
                for column, kind in zip(batch.columns, self.types, strict=True)
            ]
            yield pa.RecordBatch.from_arrays(columns, names=list(self.dialect.names))


def open_csv(source: Path, scratch: Path) -> CsvFile:
    """Check a CSV file and learn its columns; `scratch` is where the UTF-8 copy goes. Raises InputError."""
    warnings = text.to_utf8(source, scratch)
    dialect = text.read_dialect(scratch)
    guesses = [column_types.ColumnGuess(name, comma_allowed=dialect.delimiter != ",") for name in dialect.names]
    rows = 0
    for batch in _raw_batches(scratch, dialect):
        rows += batch.num_rows
        if rows > MAX_ROWS:
            raise InputError(
                "too_many_rows", f"The file has more than {MAX_ROWS:,} rows. Take a sample and upload that."
            )
        for guess, column in zip(guesses, batch.columns, strict=True):
            guess.see(column)
    if rows == 0:
        raise InputError("no_rows", "The file has a header but no rows. Add rows and upload again.")
    decided = [guess.decide() for guess in guesses]
    kinds = {guess.name: kind for guess, (_, kind) in zip(guesses, decided, strict=True)}
    return CsvFile(scratch, dialect, tuple(kind for kind, _ in decided), kinds, rows, tuple(warnings))


def _raw_batches(path: Path, dialect: text.Dialect) -> Iterator[pa.RecordBatch]:
    ragged: list[csv.InvalidRow] = []

    def stop_at(row: csv.InvalidRow) -> str:
        ragged.append(row)
        return "error"

    with path.open("rb") as file:
        file.seek(dialect.offset)
        try:
            reader = csv.open_csv(
                file,
                read_options=csv.ReadOptions(
                    use_threads=False, block_size=BLOCK_BYTES, column_names=list(dialect.names)
                ),
                parse_options=csv.ParseOptions(
                    delimiter=dialect.delimiter, newlines_in_values=True, invalid_row_handler=stop_at
                ),
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(dialect.names, pa.string()), strings_can_be_null=False
                ),
            )
            yield from reader
        except pa.ArrowInvalid as error:
            raise _explain(error, ragged, dialect) from error


def _explain(error: pa.ArrowInvalid, ragged: list[csv.InvalidRow], dialect: text.Dialect) -> InputError:
    said = str(error)
    if ragged:
        row = ragged[0]
        place = f"Row {row.number:,}" if row.number else "A row"
        return InputError(
            "ragged_rows",
            f"{place} has {row.actual_columns} values, the header has {row.expected_columns} columns. "
            f"Check for a stray {dialect.delimiter!r}, or a line break without quotation marks.",
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
