"""Rows of plain SQL by the names of their columns: what stands third today stands fourth once somebody adds a column."""

from collections import namedtuple
from functools import lru_cache
from typing import Any, TypeVar

from django.db.backends.utils import CursorWrapper

T = TypeVar("T")


def named_rows(cursor: CursorWrapper) -> list[Any]:
    """Return what a cursor has left as named tuples. Raises ValueError where two columns have one name, or a column none."""
    row = _row(*(column[0] for column in cursor.description))
    return [row._make(values) for values in cursor.fetchall()]


def named_row(cursor: CursorWrapper) -> Any:
    """Return the one row of a cursor as a named tuple. Raises ValueError for none or several."""
    (row,) = named_rows(cursor)
    return row


def rows_as(kind: type[T], cursor: CursorWrapper) -> list[T]:
    """Return what a cursor has left as objects of a class whose fields the columns name."""
    names = [column[0] for column in cursor.description]
    return [kind(**dict(zip(names, values, strict=True))) for values in cursor.fetchall()]


@lru_cache(maxsize=256)
def _row(*names: str) -> Any:
    return namedtuple("Row", names)
