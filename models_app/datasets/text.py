"""From the bytes of a text file to UTF-8 with known dialect: encoding, delimiter, header. Bounded memory."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models_app.datasets.limits import MAX_COLUMNS, MAX_NAME_LENGTH, MAX_ROW_BYTES, MAX_UNPACKED_BYTES, MIB
from models_app.runner.protocol import InputError

SAMPLE_BYTES = 256 * 1024
DELIMITERS = (",", ";", "\t", "|")

SIGNATURES = (
    (
        b"PK\x03\x04",
        "an Excel workbook or a zip archive. Save the sheet as CSV, or unpack the archive, and upload that",
    ),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook. Save the sheet as CSV and upload that"),
    (b"\x1f\x8b", "compressed with gzip. Unpack it and upload the CSV or Parquet file inside"),
    (b"BZh", "compressed with bzip2. Unpack it and upload the file inside"),
    (b"\xfd7zXZ", "compressed with xz. Unpack it and upload the file inside"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd. Unpack it and upload the file inside"),
    (b"\x93NUMPY", "a NumPy array. Export the table as CSV or Parquet"),
    (b"%PDF", "a PDF. Export the table as CSV or Parquet"),
    (b"SQLite format 3", "an SQLite database. Export one table as CSV or Parquet"),
    (b"\x89HDF", "an HDF5 file. Export the table as CSV or Parquet"),
    (b"\x7fELF", "a program, not a table. Upload a CSV or Parquet file"),
    (b"ARROW1", "an Arrow or Feather file. Export the table as Parquet"),
)
PICKLE = re.compile(rb"\A\x80[\x02-\x05]")
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?\Z")


@dataclass(frozen=True)
class Dialect:
    """How to read the UTF-8 copy: skip to `offset` bytes, split by `delimiter`."""

    delimiter: str
    names: tuple[str, ...]
    offset: int
    warnings: tuple[str, ...] = ()


def refuse_other_formats(head: bytes) -> None:
    """Raise InputError when the first bytes belong to a format that is neither CSV nor Parquet."""
    if not head.strip():
        raise InputError("empty_file", "The file is empty. Upload a CSV or Parquet file with a header and rows.")
    if PICKLE.match(head):
        raise InputError(
            "refused_format",
            "The file is a Python pickle, which can run code and is never opened. Export the table as CSV or Parquet.",
        )
    for magic, words in SIGNATURES:
        if head.startswith(magic):
            raise InputError("refused_format", f"The file is {words}.")


def to_utf8(source: Path, target: Path) -> list[str]:
    """Copy `source` to `target` as UTF-8 without a byte order mark; return warnings in words.

    Tries the byte order mark, UTF-16 without one, UTF-8, then Windows-1252. Raises InputError for what is no text.
    """
    with source.open("rb") as file:
        head = file.read(SAMPLE_BYTES)
    for encoding in _candidates(head):
        try:
            _transcode(source, target, encoding)
        except UnicodeDecodeError:
            continue
        if encoding in ("cp1252", "latin-1"):
            return ["The file is not UTF-8 and was read as Windows-1252. Check names and categories with accents."]
        return []
    raise InputError("not_text", "The file is not text in any encoding that is read here. Save it as CSV in UTF-8.")


def read_dialect(path: Path) -> Dialect:
    """Find delimiter and header of a UTF-8 file. Raises InputError for a header that names no clean columns."""
    with path.open("rb") as file:
        raw = file.read(MAX_ROW_BYTES)
    sample = raw.decode("utf-8", errors="ignore")
    stated = re.match(r"sep=([^\r\n])\r?\n", sample)
    if stated and not stated.group(1).isascii():  # the reader splits by bytes
        stated = None
    skipped = stated.group(0) if stated else ""
    blank = re.match(r"(?:[ \t]*\r?\n)*", sample[len(skipped) :])
    skipped += blank.group(0) if blank else ""
    body = sample[len(skipped) :]
    if "\n" not in body and "\r" not in body and len(raw) == MAX_ROW_BYTES:
        raise InputError(
            "row_too_long",
            f"The first line is longer than {MAX_ROW_BYTES // MIB} MiB. Check that rows end with a line break.",
        )
    delimiter = stated.group(1) if stated else _sniff(body[:SAMPLE_BYTES])
    names, header = _header(body, delimiter)
    offset = len((skipped + header).encode())
    return Dialect(delimiter, names, offset)


def check_names(names: list[str]) -> tuple[str, ...]:
    """Return column names, trimmed. Raises InputError for empty, repeated, endless or unprintable ones."""
    trimmed = [name.strip() for name in names]
    if len(trimmed) > MAX_COLUMNS:
        raise InputError(
            "too_many_columns",
            f"The file has {len(trimmed):,} columns; the most is {MAX_COLUMNS:,}. Leave out columns and upload again.",
        )
    empty = [at for at, name in enumerate(trimmed, 1) if not name]
    if empty:
        places = ", ".join(map(str, empty[:5]))
        raise InputError(
            "empty_column_name",
            f"Column {places} has no name. Name it, or leave it out (pandas: to_csv(..., index=False)).",
        )
    repeated = [name for name, count in Counter(trimmed).items() if count > 1]
    if repeated:
        raise InputError(
            "duplicate_columns",
            f"Column names occur twice: {', '.join(_short(name) for name in repeated[:5])}. Rename them.",
        )
    for name in trimmed:
        if len(name) > MAX_NAME_LENGTH:
            raise InputError(
                "column_name_too_long",
                f"Column name {_short(name)} is longer than {MAX_NAME_LENGTH} characters. Shorten it.",
            )
        if not name.isprintable():
            raise InputError("bad_column_name", f"Column name {_short(name)} holds control characters. Rename it.")
    return tuple(trimmed)


def _candidates(head: bytes) -> list[str]:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ["utf-16"]
    if head.startswith(codecs.BOM_UTF8):
        return ["utf-8-sig"]
    even, odd = head[0::2].count(0), head[1::2].count(0)
    half = max(1, len(head) // 2)
    if odd / half > 0.4 and even / half < 0.05:
        return ["utf-16-le"]
    if even / half > 0.4 and odd / half < 0.05:
        return ["utf-16-be"]
    if b"\0" in head:
        return []
    return ["utf-8-sig", "cp1252", "latin-1"]


def _transcode(source: Path, target: Path, encoding: str) -> None:
    decoder = codecs.getincrementaldecoder(encoding)()
    written = 0
    with source.open("rb") as file, target.open("wb") as out:
        while chunk := file.read(MIB):
            text = decoder.decode(chunk)
            if "\0" in text:
                raise InputError("not_text", "The file holds zero bytes and is not text. Save it as CSV in UTF-8.")
            written += out.write(text.encode("utf-8", errors="replace"))
            if written > MAX_UNPACKED_BYTES:
                raise InputError(
                    "too_big_unpacked", "The file is larger than 500 MiB as text. Split it, or use fewer rows."
                )
        out.write(decoder.decode(b"", final=True).encode("utf-8", errors="replace"))


def _sniff(sample: str) -> str:
    """Choose the delimiter that cuts the most sampled rows into the same number of fields, more than one."""
    best, best_score = ",", 0.0
    for delimiter in DELIMITERS:
        try:
            rows = [
                row
                for row, _ in zip(
                    csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter), range(50), strict=False
                )
                if row
            ]
        except csv.Error:
            continue
        rows = rows[:-1] if len(rows) > 2 else rows
        counts = Counter(len(row) for row in rows)
        if not counts:
            continue
        fields, times = counts.most_common(1)[0]
        score = times / len(rows) + min(fields, 100) / 1000 if fields > 1 else 0.0
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _header(body: str, delimiter: str) -> tuple[tuple[str, ...], str]:
    lines = io.StringIO(body, newline="")
    consumed: list[str] = []

    def numbered() -> Iterator[str]:
        for line in lines:
            consumed.append(line)
            yield line

    try:
        names = next(csv.reader(numbered(), delimiter=delimiter, strict=False), [])
    except csv.Error as error:
        raise InputError("bad_header", "The header line cannot be read. Check its quotation marks.") from error
    if sum(map(len, consumed)) >= MAX_ROW_BYTES:
        raise InputError(
            "row_too_long", "The header does not end. Check its quotation marks and that rows end with a line break."
        )
    if len(names) < 2:
        raise InputError(
            "one_column", "Only one column was found. Separate columns by comma, semicolon, tab or vertical bar."
        )
    if len(names) <= MAX_COLUMNS and all(_NUMBER.match(name.strip()) for name in names):
        raise InputError(
            "no_header", "The first line holds only numbers. Put the names of the columns in the first line."
        )
    return check_names(names), "".join(consumed)


def _short(name: str) -> str:
    return repr(name if len(name) <= 40 else name[:37] + "...")
