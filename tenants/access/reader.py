"""Who reads: the actor of the request that this thread answers.

The middleware sets it, so that every read of a room narrows itself to what that actor may see, those too that pass through
another room's page. Nobody reads in a worker or a command: Exchequer itself sees all.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from tenants.access.actor import Actor

_reader: ContextVar[Actor | None] = ContextVar("reader", default=None)


def reader() -> Actor | None:
    """Return whose request is being answered; None outside requests."""
    return _reader.get()


@contextmanager
def reading_as(actor: Actor | None) -> Iterator[None]:
    """Read as this actor; the middleware opens one with None round each request."""
    token = _reader.set(actor)
    try:
        yield
    finally:
        _reader.reset(token)


def read_as(actor: Actor) -> None:
    """Go on reading as this actor until the surrounding `reading_as` ends."""
    _reader.set(actor)
