"""Detect delimiter and header of a text table below titles, comments and blank lines."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from models_app.runner_protocol import InputError
from models_app.tables.columns.cells import BLANKS, CONVENTIONAL, plain_name
from models_app.tables.limits import MAX_COLUMNS, MAX_NAME_LENGTH, MAX_ROW_BYTES, MIB

SAMPLE_BYTES = 256 * 1024
SAMPLE_ROWS = 60
MOST_ABOVE = 40
DELIMITERS = (",", ";", "\t", "|")
COMMENT = "#"
INDEX = "index"
ONE_COLUMN = (
    "one_column",
    "Only one column was found. Separate columns by comma, semicolon, tab or vertical bar, or choose the delimiter when you upload the file.",
)
SECOND_HEADER = (
    "The first row under the header is text where the rows below are numbers or dates ({}): it looks like a second header, "
    "or units. Keep one line of names and upload the file again."
)
LEAST_BELOW = 5
_NUMBER = re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)?\Z")
_NUMBERLIKE = re.compile(r"[+-]?\d[\d.,:/\s\-eE+]*[%€$]?\Z")
_UNNAMED = re.compile(r"Unnamed: 0(\.\d+)?\Z")


@dataclass(frozen=True)
class Dialect:
    """How to read the UTF-8 copy: skip to `offset` bytes, split by `delimiter`.

    `nameless`: columns with a made-up name. `skipped`: the lines above the header. `quoted`: quotation marks enclose
    values.
    """

    delimiter: str
    names: tuple[str, ...]
    offset: int
    warnings: tuple[str, ...] = ()
    nameless: frozenset[str] = frozenset()
    skipped: tuple[str, ...] = ()
    quoted: bool = True


def read_dialect(path: Path, chosen: str = "") -> Dialect:
    """Detect the header and, unless one was chosen, the delimiter of a UTF-8 file.

    Raises InputError for a header without valid column names.
    """
    with path.open("rb") as file:
        raw = file.read(MAX_ROW_BYTES)
    sample = raw.decode("utf-8", errors="ignore")
    stated = re.match(r'"?sep=([^\r\n])"?\r?\n', sample)
    if stated and not stated.group(1).isascii():  # the reader splits by bytes
        stated = None
    start = stated.end() if stated else 0
    blank = re.match(r"(?:[ \t]*\r?\n)*", sample[start:])
    start += blank.end() if blank else 0
    body = sample[start:]
    if "\n" not in body and "\r" not in body and len(raw) == MAX_ROW_BYTES:
        raise InputError(
            "row_too_long",
            f"The first line is longer than {MAX_ROW_BYTES // MIB} MiB. Check that rows end with a line break.",
        )
    delimiter = chosen or (stated.group(1) if stated else _sniff(_without_comments(body[:SAMPLE_BYTES])))
    above, skipped = _above(body, delimiter)
    found, consumed, fields = _header(body[above:], delimiter)
    if len(found) + 1 == fields and len(found) > 1:  # R writes no name above the row names
        found = ["", *found]
    if skipped and found[0].startswith(COMMENT):
        found[0] = found[0].lstrip(COMMENT)
    names, nameless, warnings = clean_names(found)
    if skipped:
        what = "1 line" if len(skipped) == 1 else f"{len(skipped)} lines"
        warnings.insert(
            0, f"{what} above the header {'was' if len(skipped) == 1 else 'were'} left out: {_short(skipped[0])}."
        )
    second = _second_header(body[above + consumed :][:SAMPLE_BYTES], delimiter)
    if second:
        warnings.insert(0, SECOND_HEADER.format(_short(", ".join(second))))
    offset = len(sample[: start + above + consumed].encode())
    return Dialect(delimiter, names, offset, tuple(warnings), nameless, tuple(line[:200] for line in skipped[:10]))


def clean_names(names: list[str]) -> tuple[tuple[str, ...], frozenset[str], list[str]]:
    """Return clean, unique column names, those that were made up, and warnings.

    Raises InputError for names that are too long or unprintable.
    """
    plain = [plain_name(name) for name in names]
    if len(plain) > MAX_COLUMNS:
        raise InputError(
            "too_many_columns",
            f"The file has {len(plain):,} columns; the most is {MAX_COLUMNS:,}. Leave out columns and upload again.",
        )
    for name in plain:
        if len(name) > MAX_NAME_LENGTH:
            raise InputError(
                "column_name_too_long",
                f"Column name {_short(name)} is longer than {MAX_NAME_LENGTH} characters. Shorten it.",
            )
        if not name.isprintable():
            raise InputError("bad_column_name", f"Column name {_short(name)} contains control characters. Rename it.")
    taken, twice, nameless = set(plain), [], set()
    seen: set[str] = set()
    for at, name in enumerate(plain):
        wanted = name or (INDEX if at == 0 else f"column_{at + 1}")
        if name and name not in seen:
            seen.add(name)
            if at == 0 and _UNNAMED.match(name):
                nameless.add(name)
            continue
        if name:
            twice.append(name)
        number, free = 2, wanted
        while free in taken or (name and free == name):
            free, number = f"{wanted}_{number}", number + 1
        plain[at] = free
        taken.add(free)
        seen.add(free)
        if not name:
            nameless.add(free)
    warnings = []
    if twice:
        warnings.append(f"Duplicate column names were numbered: {', '.join(map(_short, dict.fromkeys(twice)))}.")
    return tuple(plain), frozenset(nameless), warnings


def _without_comments(sample: str) -> str:
    lines = sample.splitlines(keepends=True)
    plain = [line for line in lines if not line.startswith(COMMENT)]
    return "".join(plain) if len(plain) > 1 else sample


def _sniff(sample: str) -> str:
    """Return the delimiter that cuts the most sampled rows into the same number of fields, more than one."""
    best, best_score = ",", 0.0
    for delimiter in DELIMITERS:
        rows = _rows(sample, delimiter)
        counts = Counter(len(row) for row in rows)
        if not counts:
            continue
        fields, times = counts.most_common(1)[0]
        score = times / len(rows) + min(fields, 100) / 1000 if fields > 1 else 0.0
        if score > best_score:
            best, best_score = delimiter, score
    return best


def _rows(sample: str, delimiter: str) -> list[list[str]]:
    """Return the first rows, without the last, which may be cut off."""
    try:
        reader = csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter, skipinitialspace=True)
        rows = [row for row, _ in zip(reader, range(SAMPLE_ROWS), strict=False) if row]
    except csv.Error:
        return []
    return rows[:-1] if len(rows) > 2 else rows


def _above(body: str, delimiter: str) -> tuple[int, list[str]]:
    """Return the number of characters of titles and comments above the header, and those lines."""
    sample = body[:SAMPLE_BYTES]
    counts = Counter(len(row) for row in _rows(_without_comments(sample), delimiter))
    width = counts.most_common(1)[0][0] if counts else 1
    at = 0
    skipped: list[str] = []
    while len(skipped) < MOST_ABOVE:
        end = at + len(_line(sample, at))
        line = sample[at:end].strip()
        row = next(csv.reader([line], delimiter=delimiter), []) if line.count('"') % 2 == 0 else None
        said = [cell for cell in row or () if cell.strip(BLANKS)]
        following = sample[end:].lstrip()[:1]
        comment = line.startswith(COMMENT) and not (
            row is not None and len(row) == width > 1 and not following.startswith(COMMENT)
        )
        title = row is not None and width > 1 and len(said) <= 1 and (len(row) < width or width > 2)
        if not following or not (comment or title or not line):
            break
        if line:
            skipped.append(line)
        at = end
    return at, skipped


def _second_header(rest: str, delimiter: str) -> list[str]:
    """Return the cells of the first row if it names columns again: only text, above columns of numbers or dates."""
    first, *below = _rows(rest, delimiter) or [[]]
    words = [cell.strip(BLANKS) for cell in first]
    said = [word for word in words if word]
    if len(below) < LEAST_BELOW or any(_NUMBERLIKE.match(word) for word in said) or len({*said}) < len(said):
        return []
    found = []
    for at, word in enumerate(words):
        column = [row[at].strip(BLANKS) for row in below if at < len(row) and row[at].strip(BLANKS)]
        if (
            word.lower() not in CONVENTIONAL
            and len(column) >= LEAST_BELOW
            and all(_NUMBERLIKE.match(cell) for cell in column)
        ):
            found.append(word)
    return found if len(found) > 1 else []


def _line(sample: str, at: int) -> str:
    found = re.match(r"[^\r\n]*(?:\r\n|\n|\r|\Z)", sample[at:])
    return found.group(0) if found else ""


def _header(body: str, delimiter: str) -> tuple[list[str], int, int]:
    """Return the names, the number of characters they take, and the number of fields of the rows below."""
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
    length = sum(map(len, consumed))
    if length >= MAX_ROW_BYTES:
        raise InputError(
            "row_too_long", "The header does not end. Check its quotation marks and that rows end with a line break."
        )
    if len(names) < 2:
        raise InputError(*ONE_COLUMN)
    if len(names) <= MAX_COLUMNS and all(_NUMBER.match(name.strip()) for name in names):
        raise InputError("no_header", "The first line holds only numbers. Put the column names in the first line.")
    # A header repeated among the rows, as in concatenated files, is no evidence about the first line.
    plain = [name.strip() for name in names]
    rows = [
        row for row in _rows(body[length : length + SAMPLE_BYTES], delimiter) if [cell.strip() for cell in row] != plain
    ]
    if _is_row(names, rows):
        raise InputError(
            "no_header",
            "The first line holds values like those below it. Put the column names in the first line.",
        )
    counts = Counter(len(row) for row in rows)
    return names, length, counts.most_common(1)[0][0] if len(counts) == 1 else 0


def _is_row(names: list[str], rows: list[list[str]]) -> bool:
    """Return whether the first line is a row.

    It is one if most columns contain the word that would be their name, or if it has numbers, and a word or a broken
    number that its column contains too. A line with only its first cell empty is a header above row names.
    """
    numbers = [at for at, name in enumerate(names) if _NUMBER.match(name.strip())]
    below = [{row[at].strip() for row in rows if at < len(row)} for at in range(len(names))]
    if not names[0].strip() and all(name.strip() for name in names[1:]) and below[0] and "" not in below[0]:
        return False
    again = sum(bool(name.strip()) and name.strip() in found for name, found in zip(names, below, strict=True))
    if again > 1 and again * 2 > len(names):
        return True
    words = any(name.strip() in found for name, found in zip(names, below, strict=True) if name.strip())
    broken = any(re.search("[.,]", names[at]) and all(map(_NUMBER.match, below[at])) for at in numbers if below[at])
    return bool(numbers) and (broken or (words and len(numbers) * 2 >= len(names)))


def _short(name: str) -> str:
    return repr(name if len(name) <= 40 else name[:37] + "...")
