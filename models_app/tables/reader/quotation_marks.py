"""Find an unclosed quotation mark, which swallows the rest of a file, and read the marks as text if that works."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from models_app.runner_protocol import InputError
from models_app.tables.limits import MAX_VALUE_BYTES, MIB
from models_app.tables.reader.dialect import Dialect


def unclosed(path: Path, shape: Dialect) -> tuple[Dialect, list[str]]:
    """Return how to read a UTF-8 file, and a warning about an unclosed quotation mark. Raises InputError."""
    if _marks(path, shape.offset) % 2 == 0:
        return shape, []
    row, open_at = _last_row(path, shape)
    if not open_at:
        return shape, []
    place = f"Row {row:,} opens a quotation mark that is never closed"
    if path.stat().st_size - open_at > MAX_VALUE_BYTES:
        raise InputError(
            "value_too_long", f"{place}: the rest of the file would be one value. Close it and upload again."
        )
    plain = replace(shape, quoted=False)
    if not _even(path, plain):
        raise InputError("unclosed_quote", f"{place}. Close it, or remove it, and upload again.")
    return plain, [f"{place}. Quotation marks were read as part of the text."]


def _marks(path: Path, offset: int) -> int:
    found = 0
    with path.open("rb") as file:
        file.seek(offset)
        while chunk := file.read(MIB):
            found += chunk.count(b'"')
    return found


def _last_row(path: Path, shape: Dialect) -> tuple[int, int]:
    """Return the number of the last row and its start in bytes; 0 if it is closed."""
    at = begins = shape.offset
    row = 0

    with path.open("rb") as file:
        file.seek(shape.offset)

        def lines() -> Iterator[str]:
            nonlocal at
            for line in file:
                at += len(line)
                yield line.decode("utf-8", "replace")

        reader = csv.reader(lines(), delimiter=shape.delimiter, strict=True)
        before = csv.field_size_limit(4 * MAX_VALUE_BYTES)  # a larger value is unclosed, and must not fill the memory
        try:
            while True:
                begins = at
                next(reader)
                row += 1
        except StopIteration:
            return row, 0
        except csv.Error as error:
            return (row + 1, begins) if re.search("unexpected end|field larger", str(error)) else (row + 1, 0)
        finally:
            csv.field_size_limit(before)


def _even(path: Path, shape: Dialect) -> bool:
    """Return whether every line has as many fields as the header if quotation marks are text."""
    with path.open("rb") as file:
        file.seek(shape.offset)
        wanted, delimiter = len(shape.names) - 1, shape.delimiter.encode()
        return all(line.count(delimiter) == wanted for line in file if line.strip())
