"""Read the first sheet of an Excel or OpenDocument workbook that holds a table."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import python_calamine

from models_app.runner_protocol import InputError
from models_app.tables.columns import cells
from models_app.tables.limits import MAX_RATIO, MAX_UNPACKED_BYTES, RATIO_FROM_BYTES
from models_app.tables.reader import parquet_file, records
from models_app.tables.reader.parquet_file import ParquetFile

ZIP, OLD = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"
MOST_CELLS = 8_000_000
MOST_ABOVE = 40
MARKS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")


def is_workbook(path: Path, head: bytes) -> bool:
    """Return whether a file is a workbook, by its content. Raises InputError if it unpacks to too much."""
    if head.startswith(OLD):
        return True
    if not head.startswith(ZIP):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            names = {one.filename for one in archive.infolist()}
            unpacked = sum(one.file_size for one in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, OSError):
        return False
    if not names.intersection(MARKS):
        return False
    if unpacked > MAX_UNPACKED_BYTES or (unpacked > RATIO_FROM_BYTES and unpacked > MAX_RATIO * path.stat().st_size):
        raise InputError(
            "too_big_unpacked",
            "The workbook holds more than the reader may unpack. Save the sheet as CSV and upload that.",
        )
    return True


def open_workbook(path: Path, scratch: Path, *, target: str | None, choices: Any) -> ParquetFile:
    """Read the first sheet with a table; `scratch` is where its Parquet goes. Raises InputError."""
    try:
        with python_calamine.CalamineWorkbook.from_path(str(path)) as book:
            return _read(book, scratch, target=target, choices=choices)
    except python_calamine.PasswordError as error:
        raise InputError(
            "encrypted_workbook", "The workbook is protected by a password. Save it without one and upload it again."
        ) from error
    except (python_calamine.CalamineError, OSError, ValueError, MemoryError) as error:
        if isinstance(error, MemoryError):
            raise
        raise InputError(
            "bad_workbook",
            "The workbook is damaged or not supported. Save the sheet as CSV and upload that.",
        ) from error


def _read(book: Any, scratch: Path, *, target: str | None, choices: Any) -> ParquetFile:
    warnings = []
    visible = [
        one.name
        for one in book.sheets_metadata
        if one.visible == python_calamine.SheetVisibleEnum.Visible
        and one.typ == python_calamine.SheetTypeEnum.WorkSheet
    ]
    for at, name in enumerate(visible):
        sheet = book.get_sheet_by_name(name)
        if sheet.total_height * max(1, sheet.total_width) > MOST_CELLS:
            raise InputError(
                "too_big_unpacked",
                f"The sheet has more than {MOST_CELLS:,} cells. Save it as CSV or Parquet and upload that.",
            )
        header, above = _header(sheet.iter_rows())
        if header is None:
            continue
        if len(visible) > at + 1:
            warnings.append(
                f"The workbook has {len(visible)} sheets; {name!r} was read. Upload the others on their own."
            )
        if above:
            warnings.append(
                f"{above} row{'s' if above > 1 else ''} above the header {'were' if above > 1 else 'was'} left out."
            )
        width = len(header)

        def rows(sheet: Any = sheet, above: int = above, width: int = width) -> Iterator[Sequence[Any]]:
            waiting: list[list[Any]] = []
            for number, row in enumerate(sheet.iter_rows()):
                if number <= above:
                    continue
                waiting.append([None if value == "" else value for value in row[:width]])
                if any(value is not None for value in waiting[-1]):  # empty rows at the very end do not count
                    yield from waiting
                    waiting.clear()

        mixed, texts = records.write(header, rows, scratch, "values of a kind")
        return parquet_file.named(
            scratch,
            header,
            mixed=mixed,
            dated=texts,
            target=target,
            choices=choices,
            warnings=warnings,
            about={"format": "excel", "sheet": name},
        )
    raise InputError("no_rows", "No sheet of the workbook holds a table. Put one with a header and rows on a sheet.")


def _header(rows: Iterable[Sequence[Any]]) -> tuple[list[str] | None, int]:
    """Return the names and the number of rows above them, without empty columns at the right."""
    for number, row in enumerate(rows):
        if number > MOST_ABOVE:
            break
        said = [at for at, value in enumerate(row) if value not in (None, "")]
        if len(said) > 1 or (len(said) == 1 and len(row) == 1):
            return [
                cells.word(int(value) if isinstance(value, float) and value.is_integer() else value)
                for value in row[: said[-1] + 1]
            ], number
    return None, 0
