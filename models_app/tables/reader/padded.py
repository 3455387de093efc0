"""Blanks between a delimiter and a quotation mark, which would make the marks part of the value."""

from __future__ import annotations

import csv
import re
from collections import Counter
from pathlib import Path

from models_app.tables.limits import MAX_VALUE_BYTES, MIB

BEFORE = 64
"""Maximum blanks searched across the border of two parts."""


def tighten(path: Path, delimiter: str) -> bool:
    """Rewrite a UTF-8 file without blanks before its values, if any precede a quotation mark; return whether it did.

    A file with unpaired marks stays as it is, and so does one whose rows become less regular: there the marks are part
    of the text.
    """
    if not _padded(path, delimiter):
        return False
    as_is, tight = (_regular(path, delimiter, skip=skip) for skip in (False, True))
    if tight < as_is or (tight[0] == as_is[0] and tight != as_is):
        return False
    target = path.with_suffix(".tight")
    before = csv.field_size_limit(4 * MAX_VALUE_BYTES)
    try:
        with path.open(newline="", encoding="utf-8") as file, target.open("w", newline="", encoding="utf-8") as out:
            rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    except csv.Error:
        target.unlink(missing_ok=True)
        return False
    finally:
        csv.field_size_limit(before)
    target.replace(path)
    return True


def _regular(path: Path, delimiter: str, *, skip: bool) -> tuple[float, int]:
    """Return the share of rows with the most frequent number of values, and the number of rows."""
    widths: Counter[int] = Counter()
    before = csv.field_size_limit(4 * MAX_VALUE_BYTES)
    try:
        with path.open(newline="", encoding="utf-8") as file:
            widths.update(len(row) for row in csv.reader(file, delimiter=delimiter, skipinitialspace=skip) if row)
    except csv.Error:
        return 0.0, 0
    finally:
        csv.field_size_limit(before)
    rows = sum(widths.values())
    return (max(widths.values()) / rows if rows else 0.0), rows


def _padded(path: Path, delimiter: str) -> bool:
    """Return whether a quotation mark anywhere follows a delimiter and blanks, and all marks pair."""
    sign = re.compile(re.escape(delimiter.encode()) + rb' +"' if delimiter != " " else rb"(?!)")
    found, marks, tail = False, 0, b""
    with path.open("rb") as file:
        while chunk := file.read(MIB):
            marks += chunk.count(b'"')
            found = found or sign.search(tail + chunk) is not None
            tail = chunk[-BEFORE:]
    return found and marks % 2 == 0
