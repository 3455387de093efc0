"""Sweeps over many rows or steps: one that fails is logged and holds up no other, and the sweep fails at its end.

with sweep("exports") as each:
    for row in each.over(expired):
        with each(export=row.id):
            expire(row)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import structlog

MOST_IN_A_ROW = 20
Row = TypeVar("Row")
log = structlog.get_logger(__name__)
#: Where the last sweep of a name ended at once, by its name and the number of its loop. A new process begins in front.
_ended_at: dict[tuple[str, int], int] = {}


class SweepFailed(Exception):
    """Some rows or steps of a sweep failed; the log names each. The others were done."""


class Each:
    """The rows of one sweep: `over` yields them, and a call gives the context for one of them."""

    def __init__(self, what: str) -> None:
        self.failed = 0
        self._what = what
        self._in_a_row = 0
        self._loops = 0
        self._next: tuple[tuple[str, int], int] | None = None

    def over(self, rows: Iterable[Row], most: int | None = None) -> Iterator[Row]:
        """Yield all rows, those first that the last sweep did not reach because it ended at once.

        With `most`, it ends once so many were done. Those that fail do not count, so that bad rows in front never fill a
        sweep: give it all rows, as ids, and no query with a limit.
        """
        loop, self._loops = (self._what, self._loops), self._loops + 1
        found = list(rows)
        start, left = _ended_at.pop(loop, 0) % max(len(found), 1), len(found) if most is None else most
        for place in (*range(start, len(found)), *range(start)):
            if left == 0:
                return
            self._next, failed = (loop, place + 1), self.failed
            yield found[place]
            left -= self.failed == failed

    @contextmanager
    def __call__(self, **which: object) -> Iterator[None]:
        """Log a failure with what names the row, such as its id. Raises it after `MOST_IN_A_ROW` failures in a row."""
        try:
            yield
            self._in_a_row = 0
        except Exception:
            self.failed, self._in_a_row = self.failed + 1, self._in_a_row + 1
            log.exception("sweep.failed", sweep=self._what, **{name: str(value) for name, value in which.items()})
            if self._in_a_row == MOST_IN_A_ROW:
                _ended_at.update([self._next] if self._next else [])
                raise


@contextmanager
def sweep(what: str) -> Iterator[Each]:
    """Give the rows or steps of a sweep, each in a context of its own.

    Raises SweepFailed at the end if one failed, so that the task that sweeps has failed too. After `MOST_IN_A_ROW`
    failures in a row it may be no fault of the rows, such as a store that does not answer: the sweep ends at once,
    and the next one begins with the row after, so that bad rows in front hold up the others for a while only.
    """
    each = Each(what)
    yield each
    if each.failed:
        raise SweepFailed(f"{what}: {each.failed} failed; the log names each")
