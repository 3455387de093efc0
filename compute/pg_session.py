"""The psycopg connection under Django's: listening needs it, and its errors come unwrapped."""

from __future__ import annotations

from typing import Any

import psycopg
from django.db import Error as DatabaseFault
from django.db import InterfaceError, InternalError, OperationalError, connection

Session = psycopg.Connection[Any]
LOST: tuple[type[Exception], ...] = (DatabaseFault, psycopg.Error)
"""Errors after which a listener reconnects. Too broad for processing rows: see `is_same_session`."""
AWAY = (OperationalError, InterfaceError, InternalError)
"""Errors of a database that may be back soon. The last one ends a session that idled in its transaction: its process had stopped."""


def is_same_session(held: Session | None) -> bool:
    """Return whether this thread still has that session, and with it its advisory lock and channels.

    The class of an error does not show it: a deadlock is an OperationalError too, and loses nothing. Nor does the next
    query: Django silently replaces a lost session at the end of its transaction.
    """
    return held is not None and connection.connection is held and not held.closed


def listen(channel: str) -> Session:
    """Listen on a channel of a fixed name with this thread's connection, and return it. Raises one of LOST."""
    with connection.cursor() as cursor:
        cursor.execute(f"LISTEN {channel}")
    return session()


def session() -> Session:
    """Return this thread's open connection. Raises psycopg.OperationalError when there is none."""
    opened: Session | None = connection.connection
    if opened is None:
        raise psycopg.OperationalError("the connection is closed")
    return opened
