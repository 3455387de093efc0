"""Columns as PostgreSQL array literals, in a fifth of the time of the driver's generic dumper.

Only for values whose text needs no quoting: numbers, times, ids, bytes and fixed words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any
from uuid import UUID


def array(values: Iterable[Any], write: Callable[[Any], str]) -> str:
    """Return the literal of an array; `write` turns elements into text, and None becomes NULL."""
    return "{" + ",".join(["NULL" if value is None else write(value) for value in values]) + "}"


def bytea(value: bytes) -> str:
    """Format bytes; in an array literal the backslash is doubled."""
    return "\\\\x" + value.hex()


def iso(value: date) -> str:
    """Format a day, or an instant with its offset."""
    return value.isoformat()


def uuid(value: UUID) -> str:
    """Format an id."""
    return value.hex


def parsed(dims: object) -> Mapping[str, str]:
    """Return dimensions from a cursor, which yields them decoded or as JSON."""
    value = json.loads(dims) if isinstance(dims, str) else dims
    return value if isinstance(value, dict) else {}


def parsed_list(column: object) -> list[Any]:
    """Return a list from a cursor, which yields it decoded or as JSON."""
    value = json.loads(column) if isinstance(column, str) else column
    return value if isinstance(value, list) else []
