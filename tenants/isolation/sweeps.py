"""Sweeps over many rows or steps: one that fails is logged and holds up no other, and the sweep fails at its end.

with sweep("exports") as each:
    for row in over:
        with each(export=row.id):
            expire(row)
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import structlog

MOST_IN_A_ROW = 20
log = structlog.get_logger(__name__)


class SweepFailed(Exception):
    """Some rows or steps of a sweep failed; the log names each. The others were done."""


@contextmanager
def sweep(what: str) -> Iterator[Callable[..., AbstractContextManager[None]]]:
    """Give the context for one row or step of a sweep; what it is called with is logged if that fails, such as its id.

    Raises SweepFailed at the end if one failed, so that the task that sweeps has failed too. After `MOST_IN_A_ROW`
    failures in a row it is no fault of the rows, such as a store that does not answer: the sweep ends at once.
    """
    failed = in_a_row = 0

    @contextmanager
    def each(**which: object) -> Iterator[None]:
        nonlocal failed, in_a_row
        try:
            yield
            in_a_row = 0
        except Exception:
            failed, in_a_row = failed + 1, in_a_row + 1
            log.exception("sweep.failed", sweep=what, **{name: str(value) for name, value in which.items()})
            if in_a_row == MOST_IN_A_ROW:
                raise

    yield each
    if failed:
        raise SweepFailed(f"{what}: {failed} failed; the log names each")
