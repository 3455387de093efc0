"""The same rows in other files: other formats and notations, as programs and people write them."""

from __future__ import annotations

import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.support.workbooks import workbook

Raw = Mapping[str, Any]
File = tuple[str, bytes]
NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d+)?(e[+-]?\d+)?", re.IGNORECASE)


def delimited(
    rows: Sequence[Raw], sign: str = ",", encoding: str = "utf-8", above: str = "", name: str = "later.csv"
) -> File:
    """Return rows as text, columns in reverse order."""
    out = io.StringIO(newline="")
    names = list(reversed(rows[0]))
    writer = csv.writer(out, delimiter=sign, lineterminator="\r\n")
    writer.writerow(names)
    writer.writerows([["" if row[one] is None else row[one] for one in names] for row in rows])
    return name, (above + out.getvalue()).encode(encoding)


def typed(cell: Any, missing: Sequence[str] = ()) -> Any:
    """Return a cell as a program stores it: numbers as numbers, missing as None, everything else unchanged."""
    if not isinstance(cell, str):
        return cell
    text = cell.strip()
    if not text or text in missing:
        return None
    if NUMBER.fullmatch(text):
        return float(text) if re.search("[.eE]", text) else int(text)
    return cell


def each(rows: Sequence[Raw], change: Callable[[str, Any], Any]) -> list[dict[str, Any]]:
    """Return rows with every cell changed by (column, cell)."""
    return [{name: change(name, cell) for name, cell in row.items()} for row in rows]


def comma(cell: Any) -> Any:
    """Return a number with a decimal comma and points between thousands; anything else unchanged."""
    value = typed(cell)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return cell
    sign, text = ("-", str(cell).strip()[1:]) if str(cell).strip().startswith("-") else ("", str(cell).strip())
    whole, _, part = text.partition(".")
    if "e" in text.lower():
        return cell
    return f"{sign}{int(whole):,}".replace(",", ".") + (f",{part}" if part else "")


def json_lines(rows: Sequence[Raw], name: str = "later.jsonl.gz") -> File:
    """Return rows as one gzipped object per line; columns without a value are omitted."""
    lines = [json.dumps({key: value for key, value in row.items() if value is not None}) for row in rows]
    return name, gzip.compress("\n".join(lines).encode())


def excel(rows: Sequence[Raw], name: str = "later.xlsx") -> File:
    """Return rows as the first sheet of a workbook; moments become its day numbers."""
    names = list(rows[0])
    dates = {at for at, one in enumerate(names) if any(isinstance(row[one], datetime) for row in rows)}
    day = datetime(1899, 12, 30)
    cells = [[_day(row[one], day) for one in names] for row in rows]
    return name, workbook([names, *cells], dates=dates)


def _day(value: Any, first: datetime) -> Any:
    return (value - first).total_seconds() / 86_400 if isinstance(value, datetime) else value


def parquet(rows: Sequence[Raw], name: str = "later.parquet", **options: Any) -> File:
    """Return rows as Parquet; a column of mixed values becomes text."""
    columns = {}
    for one in rows[0]:
        values = [row[one] for row in rows]
        kinds = {type(value) for value in values} - {type(None)}
        if len(kinds) > 1 and not kinds <= {int, float}:
            values = [None if value is None else str(value) for value in values]
        columns[one] = pa.array(values)
    out = io.BytesIO()
    pq.write_table(pa.table(columns), out, **options)
    return name, out.getvalue()
