"""The database's clock, moved: only the owner's role may move it, and every session sees it at once."""

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
    """Moves `exchequer_now()` forward, never back, and never beyond `until`: by default the time of its creation."""

    def __init__(self, owner_url: str, until: datetime | None = None) -> None:
        self._owner: psycopg.Connection[Any] = psycopg.connect(owner_url, autocommit=True)
        # A move undone by a crash is not needed any more.
        self._owner.execute("SET synchronous_commit = off")
        self.remove()
        self.until = until or self._read()
        self._set: datetime | None = None
        self._since = 0.0

    def move_to(self, moment: datetime) -> None:
        """Set the clock to `moment` (aware), unless it is already there or later."""
        moment = min(moment, self.until)
        if self._set is None or moment > self.now():
            self._owner.execute(MOVE, {"to": moment})
            self._set, self._since = moment, time.monotonic()

    def now(self) -> datetime:
        """Return the approximate time of the clock, without querying it."""
        if self._set is None:
            raise RuntimeError("the clock was not moved yet")
        return self._set + timedelta(seconds=time.monotonic() - self._since)

    def remove(self) -> None:
        """Restore the real time."""
        self._owner.execute("DELETE FROM demo_clock")

    def close(self) -> None:
        """Restore the real time, and disconnect."""
        self.remove()
        self._owner.close()

    def _read(self) -> datetime:
        row = self._owner.execute("SELECT exchequer_now()").fetchone()
        if row is None:
            raise RuntimeError("the clock does not answer")
        moment: datetime = row[0]
        return moment
