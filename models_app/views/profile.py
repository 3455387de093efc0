"""A dataset's profile as its page shows it: one row per column, with its distribution and how it was read."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from models_app.datasets.column_choices import ColumnReading
from models_app.endpoints.compatibility import differing
from models_app.queries import VersionRow
from models_app.recipes.columns import WORDS
from models_app.tables import writing
from models_app.tables.columns import contract, kinds

ORDERS = (("ymd", "year first"), ("dmy", "day first"), ("mdy", "month first"))


@dataclass(frozen=True)
class Column:
    """One column: its type, missing values, distribution, and relation to the target."""

    name: str
    kind: str
    is_target: bool
    missing: int
    missing_share: float
    distinct: int | None
    bars: list[tuple[str, float]]
    summary: str
    power: float | None
    reading: Reading | None = None


@dataclass(frozen=True)
class Reading:
    """How a column was read, and the form fields to change it. `at` is its index in the file, from 0.

    `types`: (type, label, whether it is chosen, whether any value fits). `missing`: its words as people write them.
    `numbers` and `dates` are options if the column has such formats.
    """

    at: int
    evidence: str
    ambiguous: str
    chosen: bool
    types: tuple[tuple[str, str, bool, bool], ...]
    role: str
    missing: str
    taken: tuple[tuple[str, int], ...]
    number: str
    date: str
    numbers: tuple[str, ...]
    dates: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class File:
    """How a file was read, in words; for a text file also the form fields to change it: (name, label, options).

    An option: (value, label, whether it is in force).
    """

    words: str
    fields: tuple[tuple[str, str, tuple[tuple[str, str, bool], ...]], ...] = ()


FORMATS = {"csv": "Text", "excel": "Excel", "json": "JSON", "json lines": "JSON lines", "parquet": "Parquet"}


def file(read: Mapping[str, Any]) -> File | None:
    """Return how a file was read; None for a version from before this was stored."""
    if "format" not in read:
        return None
    if read["format"] != "csv":
        sheet = f", sheet {read['sheet']}" if read.get("sheet") else ""
        return File(FORMATS.get(read["format"], read["format"]) + sheet)
    above = len(read.get("skipped", ()))
    lines = f", {above} line{'s' if above > 1 else ''} above the header left out" if above else ""
    chosen = read.get("chosen", {})
    words = {name: writing.called(name, str(read.get(name, ""))) for name in writing.KEYS}
    details = ", ".join(
        f"{word}{' (set by a member)' if chosen.get(name) else ''}" for name, word in words.items() if word
    )
    known = {"encoding": ("Encoding", writing.ENCODINGS), "delimiter": ("Delimiter", writing.DELIMITERS)}
    fields = []
    for name, (label, options) in known.items():
        held = chosen.get(name, "")
        shown = "As the file shows" + ("" if held else f" ({words[name]})")
        found = (("", shown, not held), *((value, word, value == held) for value, word in options.items()))
        fields.append((name, label, found))
    return File(f"{FORMATS['csv']}, {details}{lines}", tuple(fields))


def columns(profile: Mapping[str, Any], readings: Sequence[ColumnReading] = ()) -> list[Column]:
    """Return the profile's columns: the target first, then by relation to it, then in file order."""
    read = {one.name: reading(at, one) for at, one in enumerate(readings)}
    spelled = {one.name: dict(zip(("false", "true"), one.spelling, strict=True)) for one in readings}
    found = [
        replace(_column(_as_uploaded(one, spelled.get(one["name"], {}))), reading=read.get(one["name"]))
        for one in profile.get("columns", [])
    ]
    return sorted(found, key=lambda one: (not one.is_target, -(one.power if one.power is not None else -1.0)))


def reading(at: int, one: ColumnReading) -> Reading:
    """Return how one column was read, in the form of its row."""
    types = []
    for name in contract.TYPES:
        fits = one.can_be.get(name)
        part = f" ({fits:,} of {one.values:,})" if fits is not None and fits < one.values and name != kinds.TEXT else ""
        types.append((name, WORDS[name] + part, name == one.type, fits is None or fits > 0 or name == one.type))
    return Reading(
        at=at,
        evidence=one.evidence,
        ambiguous=one.ambiguous,
        chosen=bool(one.chosen),
        types=tuple(types),
        role=one.role,
        missing=written(one.missing),
        taken=tuple((word or "empty cells", count) for word, count in one.taken_as_missing.items() if count),
        number=one.number,
        date=one.date,
        numbers=contract.NUMBERS if one.type == kinds.NUMERIC else (),
        dates=ORDERS if one.type == kinds.DATETIME else (),
    )


def written(words: Sequence[str]) -> str:
    """Return words as one line; quote those with a comma or a quotation mark."""
    out = io.StringIO()
    csv.writer(out, lineterminator="").writerow(words)
    return "" if not words else out.getvalue()


def words_of(line: str) -> list[str]:
    """Parse such a line into words; surrounding blanks are dropped."""
    found = next(csv.reader([line], skipinitialspace=True), [])
    return [word.strip() for word in found if word.strip()]


def differs(version: VersionRow, history: Sequence[VersionRow]) -> str:
    """Describe how a version's columns differ from the previous ready version; empty if they are the same."""
    before = max(
        (one for one in history if one.state == "ready" and one.number < version.number), default=None, key=_at
    )
    if before is None or version.state != "ready":
        return ""
    found = differing(_kinds(before), _kinds(version))
    return f"Columns differ from version {before.number}: {found}." if found else ""


def _at(version: VersionRow) -> int:
    return version.number


def _kinds(version: VersionRow) -> dict[str, str]:
    return {column.name: column.kind for column in version.columns}


def _as_uploaded(described: Mapping[str, Any], spelling: Mapping[str, str]) -> Mapping[str, Any]:
    """Return a column of the profile with booleans spelled as in the file."""
    if described["kind"] != kinds.BOOLEAN or not spelling:
        return described
    top = [{**one, "value": spelling.get(str(one["value"]), one["value"])} for one in described.get("top", [])]
    return {**described, "top": top}


def _column(described: Mapping[str, Any]) -> Column:
    return Column(
        name=described["name"],
        kind=described["kind"],
        is_target=bool(described.get("target")),
        missing=described.get("missing", 0),
        missing_share=described.get("missing_share", 0.0),
        distinct=described.get("distinct"),
        bars=_bars(described),
        summary=_summary(described),
        power=described.get("power"),
    )


def _bars(described: Mapping[str, Any]) -> list[tuple[str, float]]:
    if "histogram" in described:
        edges, counts = described["histogram"]["edges"], described["histogram"]["counts"]
        dates = described["kind"] == "datetime"
        return [(_edge(edges[n], dates), float(count)) for n, count in enumerate(counts)]
    bars = [(str(one["value"]), float(one["count"])) for one in described.get("top", [])]
    return [*bars, ("other", float(described["other"]))] if described.get("other") else bars


def _summary(described: Mapping[str, Any]) -> str:
    if "quantiles" in described:
        dates = described["kind"] == "datetime"
        low, middle, high = described["min"], described["quantiles"]["p50"], described["max"]
        return f"{_edge(low, dates)} to {_edge(high, dates)}, median {_edge(middle, dates)}"
    if described.get("top"):
        first = described["top"][0]
        return f"most frequent: {first['value']} ({first['count']:,})"
    if "length" in described:
        return f"{described['length']['mean']:.0f} characters on average"
    return ""


def _edge(value: float, dates: bool) -> str:
    if dates:
        try:
            day = datetime.fromtimestamp(value, UTC)
            return f"{day.day} {day:%b %Y}"
        except (OverflowError, ValueError, OSError):  # a column may hold years outside the range of Python's dates
            return "?"
    return f"{value:,.0f}" if value == int(value) and abs(value) < 1e15 else f"{value:.4g}"
