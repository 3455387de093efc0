"""Session-level advisory locks: a second session is refused at once and never waits."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import DatabaseError, connection

TAKE = "SELECT pg_try_advisory_lock({})"
LET_GO = "SELECT pg_advisory_unlock({})"
NUMBER, NAME = "%s", "hashtextextended(%s, 0)"


@contextmanager
def alone(name: str | int) -> Iterator[bool]:
    """Try to take the lock; yield whether it succeeded. The session holds it, a lost connection releases it."""
    key = NUMBER if isinstance(name, int) else NAME
    with connection.cursor() as cursor:
        cursor.execute(TAKE.format(key), [name])
        mine = bool(cursor.fetchone()[0])
    try:
        yield mine
    finally:
        if mine and not connection.needs_rollback:
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute(LET_GO.format(key), [name])
