"""The database's clock, moved: only the owner's role may do it, and everybody sees it at once."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import Any

import psycopg

MOVE = """
INSERT INTO demo_clock (shift) VALUES (%(to)s - clock_timestamp())
ON CONFLICT (only_row) DO UPDATE SET shift = excluded.shift
"""


class DemoClock:
    """Moves `exchequer_now()` forward, never back, and never beyond `until`: by default the moment at which it was made."""

    def __init__(self, owner_url: str, until: datetime | None = None) -> None:
        self._owner: psycopg.Connection[Any] = psycopg.connect(owner_url, autocommit=True)
        # A move that a crash undoes is one that nobody needs any more.
        self._owner.execute("SET synchronous_commit = off")
        self.remove()
        self.until = until or self._read()
        self._set: datetime | None = None
        self._since = 0.0

    def move_to(self, moment: datetime) -> None:
        """Have the clock show `moment` (aware), unless it shows that or later already."""
        moment = min(moment, self.until)
        if self._set is None or moment > self.now():
            self._owner.execute(MOVE, {"to": moment})
            self._set, self._since = moment, time.monotonic()

    def now(self) -> datetime:
        """Return about what the clock shows, without asking it."""
        if self._set is None:
            raise RuntimeError("the clock was not moved yet")
        return self._set + timedelta(seconds=time.monotonic() - self._since)

    def remove(self) -> None:
        """Show the real time again."""
        self._owner.execute("DELETE FROM demo_clock")

    def close(self) -> None:
        """Show the real time again, and let go."""
        self.remove()
        self._owner.close()

    def _read(self) -> datetime:
        row = self._owner.execute("SELECT exchequer_now()").fetchone()
        if row is None:
            raise RuntimeError("the clock does not answer")
        moment: datetime = row[0]
        return moment
