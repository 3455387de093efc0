"""What one session of the database does at a time: who comes second learns it at once and waits for nobody."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from django.db import DatabaseError, connection

TAKE = "SELECT pg_try_advisory_lock(hashtextextended(%s, 0))"
LET_GO = "SELECT pg_advisory_unlock(hashtextextended(%s, 0))"


@contextmanager
def alone(name: str) -> Iterator[bool]:
    """Try to be the only one; say whether it succeeded. The session holds the lock, a lost connection gives it back."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [name])
        mine = bool(cursor.fetchone()[0])
    try:
        yield mine
    finally:
        if mine and not connection.needs_rollback:
            with suppress(DatabaseError), connection.cursor() as cursor:
                cursor.execute(LET_GO, [name])
