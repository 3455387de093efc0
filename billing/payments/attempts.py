"""Bring a call whose outcome is unknown to a known one, without a second effect.

A provider stores the first response to an idempotency key, a failure too, for at least 24 hours. From the first call on,
time is divided into windows of 24 hours, each with its own key:

- In the first 23 hours of a window a call is repeated with the window's key.
- In the last hour nothing is sent, so that no request with an old key is still running when the next window begins.
- In a later window the object is looked for by our id first. Only if it is missing is it requested with the new key.

After each unknown outcome the object is looked for too: a stored failure may have taken effect.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Generic, TypeVar

from django.db import connection

from billing.payments.errors import Later, OutcomeUnknown, TransactionOpen
from billing.payments.requests import Timing

T = TypeVar("T")

WINDOW = timedelta(hours=24)
SENDING = timedelta(hours=23)
#: How often a call is repeated at once; the caller's sweep repeats it later.
TRIES = 4


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """One change at the provider.

    `key` names the object and the step, the same in every repetition. `send` takes the idempotency key. `find` returns
    the result if the change has taken effect, else None.
    """

    key: str
    send: Callable[[str], T]
    find: Callable[[], T | None]


def conclude(step: Step[T], timing: Timing) -> T:
    """Make the change of a step and return its result. Raises `OutcomeUnknown`, `Later`, `Declined`, `GatewayRefused`.

    Call it with no transaction open.
    """
    refuse_transaction()
    window = windows_passed(timing)
    silent = timing.now - timing.first_at - window * WINDOW >= SENDING
    if (window or silent) and (found := read(step.find)) is not None:
        return found
    if silent:
        raise Later(seconds_to_next_window(timing))
    key = f"{step.key}:{window}" if window else step.key
    for _ in range(TRIES):
        try:
            return step.send(key)
        except OutcomeUnknown as unknown:
            last = unknown
    if (found := read(step.find)) is not None:
        return found
    raise last


def read(call: Callable[[], T]) -> T:
    """Return what a reading call returns, repeated a few times. Raises as it does. Call it with no transaction open."""
    refuse_transaction()
    for _ in range(TRIES):
        try:
            return call()
        except OutcomeUnknown as unknown:
            last = unknown
    raise last


def windows_passed(timing: Timing) -> int:
    """Return the number of whole windows since the first call; a clock that went back counts as the first window."""
    return max((timing.now - timing.first_at) // WINDOW, 0)


def seconds_to_next_window(timing: Timing) -> int:
    """Return the whole seconds until the next window begins, at least 1."""
    rest = timing.first_at + (windows_passed(timing) + 1) * WINDOW - timing.now
    return max(-(-rest // timedelta(seconds=1)), 1)


def refuse_transaction() -> None:
    """Raise `TransactionOpen` inside a transaction, except that of a test case."""
    if any(not getattr(block, "_from_testcase", False) for block in connection.atomic_blocks):
        raise TransactionOpen("Call the payment provider after the transaction has been committed.")
