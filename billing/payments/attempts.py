"""Bring a call whose outcome is unknown to a known one, without a second effect.

A provider stores the first response to an idempotency key, a failure too, for at least 24 hours. From the first call on,
time is divided into windows of 24 hours, each with its own key:

- In the first 23 hours of a window a call is repeated with the window's key.
- In the last hour nothing is sent, so that no request with an old key is still running when the next window begins.
- In a later window the object is looked for by our id first. Only if it is missing is it requested with the new key.

After each unknown outcome the object is looked for too: a stored failure may have taken effect.

A refusal is a known failure, and its response is stored too. When a person has the step repeated after one, the object is
looked for, and only if it is missing a new key is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic_ns
from typing import Generic, TypeVar

from django.db import connection

from billing.payments.errors import Later, OutcomeUnknown, TransactionOpen
from billing.payments.requests import Timing

T = TypeVar("T")


@dataclass
class Patience:
    """How long one caller waits for a provider that does not answer: nothing is repeated once it has run out."""

    until: int
    lost: bool = False

    @property
    def over(self) -> bool:
        """Whether an outcome was unknown, and the time is over. A provider that answers is never cut short."""
        return self.lost and monotonic_ns() >= self.until


_patience: ContextVar[Patience | None] = ContextVar("patience", default=None)

WINDOW = timedelta(hours=24)
SENDING = timedelta(hours=23)
#: How often a call is repeated at once; the caller's sweep repeats it later.
TRIES = 4
NANO = 10**9


@dataclass(frozen=True, slots=True)
class Step(Generic[T]):
    """One change at the provider.

    `key` names the object and the step, the same in every repetition. `send` takes the idempotency key. `find` returns
    the result if the change has taken effect, else None.
    """

    key: str
    send: Callable[[str], T]
    find: Callable[[], T | None]


@contextmanager
def patience(seconds: int) -> Iterator[Patience]:
    """Repeat calls that do not answer for so many seconds at most, and begin no further change then.

    A call that was sent before ends by its own timeout.
    """
    mine = Patience(monotonic_ns() + seconds * NANO)
    token = _patience.set(mine)
    try:
        yield mine
    finally:
        _patience.reset(token)


def conclude(step: Step[T], timing: Timing) -> T:
    """Make the change of a step and return its result. Raises `OutcomeUnknown`, `Later`, `Declined`, `GatewayRefused`.

    Call it with no transaction open.
    """
    refuse_transaction()
    if _ran_out():
        raise Later(1)
    window = windows_passed(timing)
    silent = timing.now - timing.first_at - window * WINDOW >= SENDING
    if (window or silent or timing.again) and (found := read(step.find)) is not None:
        return found
    if silent:
        raise Later(seconds_to_next_window(timing))
    key = f"{step.key}:{window}" if window else step.key
    key = f"{key}:again:{timing.again}" if timing.again else key
    for _ in range(TRIES):
        try:
            return step.send(key)
        except OutcomeUnknown as unknown:
            last = unknown
            if _lost_one():
                raise
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
            if _lost_one():
                raise
    raise last


def _lost_one() -> bool:
    """Note an unknown outcome; return whether the caller waits no longer."""
    mine = _patience.get()
    if mine is not None:
        mine.lost = True
    return _ran_out()


def _ran_out() -> bool:
    mine = _patience.get()
    return mine is not None and mine.over


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
