"""The one way to wait for something that no event announces."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 180.0
"""For whatever takes seconds: a loaded machine is slow, not wrong."""


def wait_until(
    condition: Callable[[], T],
    what: str | Callable[[], str],
    seconds: float = PATIENCE_S,
    *,
    longest_pause_s: float = 0.25,
) -> T:
    """Return the first true result of `condition`; fail with `what` after `seconds`.

    It asks often at first and ever less, in the end four times a second: each question is work for the machine that is
    waited for, and an answer comes a twentieth late at most. A shorter
    `longest_pause_s` is for what must be caught at once.
    """
    began = time.monotonic()
    while not (found := condition()):
        waited = time.monotonic() - began
        if waited > seconds:
            raise AssertionError(f"not within {seconds:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(min(max(waited / 20, 0.02), longest_pause_s))
    return found
