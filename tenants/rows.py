"""Plain SQL: rows by the names of their columns, so that a new column shifts no other, and statements that are planned once."""

from collections import namedtuple
from collections.abc import Iterator
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, TypeVar

from django.db import connection
from django.db.backends.postgresql.base import ServerBindingCursor
from django.db.backends.utils import CursorWrapper

T = TypeVar("T")


class PreparedCursor(ServerBindingCursor):
    """A cursor whose statements are prepared, and known to Django's log of statements as they are written, without values."""

    _query: Any

    def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        """Execute a statement."""
        done = super().execute(query, params, **options)  # type: ignore[misc]
        # In place of what was sent: the first time it has the numbers of the values.
        self._query = SimpleNamespace(query=str(query).encode())
        return done


def prepared_cursor() -> CursorWrapper:
    """Return a cursor whose statements PostgreSQL plans once for each connection, and gets their values beside the text.

    For long statements with many values that requests repeat: Django's own cursor writes the values into the text, which
    is parsed and planned each time. A value needs a cast where its place does not decide its type.
    """
    connection.ensure_connection()
    raw = connection.connection
    raw.prepare_threshold = 1  # Django's own cursor prepares nothing
    usual, raw.cursor_factory = raw.cursor_factory, PreparedCursor
    try:
        return connection.cursor()
    finally:
        raw.cursor_factory = usual


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
