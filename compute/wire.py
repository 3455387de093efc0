"""The psycopg connection under Django's: listening needs it, and its errors come unwrapped."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db import Error as DatabaseFault
from django.db import connection

LOST: tuple[type[Exception], ...] = (DatabaseFault, psycopg.Error)


def listen(channel: str) -> psycopg.Connection[Any]:
    """Listen on a channel of a fixed name with this thread's connection, and return it. Raises one of LOST."""
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {channel}")
    return session()


def session() -> psycopg.Connection[Any]:
    """Return this thread's open connection. Raises psycopg.OperationalError when there is none."""
    opened: psycopg.Connection[Any] | None = connection.connection
    if opened is None:
        raise psycopg.OperationalError("the connection is closed")
    return opened
