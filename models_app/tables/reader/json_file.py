"""Read JSON: one object per line, or a list of objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import orjson

from models_app.runner_protocol import InputError
from models_app.tables.limits import MAX_COLUMNS, MAX_ROW_BYTES, MIB
from models_app.tables.reader import parquet_file, records
from models_app.tables.reader.parquet_file import ParquetFile

MOST_LIST_BYTES = 64 * MIB


def is_json(head: bytes) -> bool:
    """Return whether a text starts as JSON objects do, and no CSV header does."""
    first = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if first.startswith(b"["):
        first = first[1:].lstrip()
    return first.startswith(b"{") and first[1:].lstrip()[:1] in (b'"', b"}")


def open_json(path: Path, scratch: Path, *, target: str | None, choices: Any) -> ParquetFile:
    """Read objects as rows; `scratch` is where their Parquet goes. Raises InputError."""
    with path.open("rb") as file:
        listed = file.read(4096).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"[")
    whole = _list(path) if listed else None
    names: dict[str, None] = {}
    for one in whole if whole is not None else _lines(path):
        names.update(dict.fromkeys(one))
        if len(names) > MAX_COLUMNS:
            raise InputError(
                "too_many_columns", f"The objects have more than {MAX_COLUMNS:,} keys. Leave out keys and upload again."
            )
    order = list(names)

    def rows() -> Iterator[Sequence[Any]]:
        for one in whole if whole is not None else _lines(path):
            yield [one.get(name) for name in order]

    mixed, texts = records.write(order, rows, scratch, "objects or lists")
    about = {"format": "json" if listed else "json lines"}
    return parquet_file.named(scratch, order, mixed=mixed, dated=texts, target=target, choices=choices, about=about)


def _list(path: Path) -> list[dict[str, Any]]:
    if path.stat().st_size > MOST_LIST_BYTES:
        raise InputError(
            "too_big_unpacked",
            f"A JSON list may have {MOST_LIST_BYTES // MIB} MiB. Write one object a line (JSON lines) instead.",
        )
    try:
        found = orjson.loads(path.read_bytes().removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise InputError(
            "bad_json", f"The file is not JSON: {error.msg} (line {error.lineno}). Correct it and upload again."
        ) from error
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise InputError("bad_json", "The file is no list of JSON objects. Write one object a row.")
    return found


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open("rb") as file:
        number = 0
        while line := file.readline(MAX_ROW_BYTES + 1):
            number += 1
            if len(line) > MAX_ROW_BYTES:
                raise InputError(
                    "row_too_long",
                    f"Line {number:,} is longer than {MAX_ROW_BYTES // MIB} MiB. Write one object a line.",
                )
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                found = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise InputError(
                    "bad_json", f"Line {number:,} is not a JSON object: {error.msg}. Write one object a line."
                ) from error
            if not isinstance(found, dict):
                raise InputError("bad_json", f"Line {number:,} is not a JSON object. Write one object a line.")
            yield found
