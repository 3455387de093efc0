"""Rows of plain SQL by the names of their columns, so that a new column shifts no other."""

from collections import namedtuple
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, TypeVar

from django.db.backends.utils import CursorWrapper

T = TypeVar("T")


def named_rows(cursor: CursorWrapper) -> list[Any]:
    """Return the remaining rows of a cursor as named tuples. Raises ValueError unless every column has its own name."""
    row = _row(*(column[0] for column in cursor.description))
    return [row._make(values) for values in cursor.fetchall()]


def named_portions(cursor: CursorWrapper, size: int) -> Iterator[list[Any]]:
    """Return the rows of a cursor as named tuples, so many at a time: none is kept once its portion is used."""
    while portion := cursor.fetchmany(size):
        row = _row(*(column[0] for column in cursor.description))
        yield [row._make(values) for values in portion]


def rows_as(kind: type[T], cursor: CursorWrapper) -> list[T]:
    """Return the remaining rows of a cursor as objects of a class with fields of the columns' names."""
    names = [column[0] for column in cursor.description]
    return [kind(**dict(zip(names, values, strict=True))) for values in cursor.fetchall()]


@lru_cache(maxsize=256)
def _row(*names: str) -> Any:
    return namedtuple("Row", names)
