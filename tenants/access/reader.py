"""The reader: the actor of the request that this thread serves.

The middleware sets it, so that every query of an app is limited to what that actor may see, also within another app's
page. Workers and commands have no reader: the system sees all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tenants.access.actor import Actor

_reader: ContextVar[Actor | None] = ContextVar("reader", default=None)


def reader() -> Actor | None:
    """Return the actor of the current request; None outside requests."""
    return _reader.get()


@contextmanager
def reading_as(actor: Actor | None) -> Iterator[None]:
    """Read as this actor; the middleware opens one with None around each request."""
    token = _reader.set(actor)
    try:
        yield
    finally:
        _reader.reset(token)


def read_as(actor: Actor) -> None:
    """Continue as this reader until the surrounding `reading_as` ends."""
    _reader.set(actor)


def sees_money() -> bool:
    """Return whether the reader may see amounts."""
    return may_see_money(reader())


def may_see_money(who: Actor | None) -> bool:
    """Return whether an actor may see amounts: an operator who looks inside a tenant sees none."""
    return who is None or who.kind != "operator"
