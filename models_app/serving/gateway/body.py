"""Request bodies: read up to the cap within a time limit, and the byte budget of bodies and responses."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar
from uuid import UUID

from models_app.serving.requests import problems
from tenants.errors import RateLimited

Bytes = TypeVar("Bytes", bytes, bytearray)
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MAX_BODY = 8 * 1024**2
MAX_DISCARDED = 64 * 1024**2
MAX_OF_KEY = 32 * 1024**2
MAX_IN_FLIGHT = 256 * 1024**2
#: A body and its response together fit into the limit of one key.
MAX_ANSWER = MAX_OF_KEY - MAX_BODY
BODY_S = 30.0
DISCARD_S = 10.0


class TooMuch(RateLimited):
    """This key's requests, and the answers that it has not read, hold as many bytes here as one key may."""


class ClientDisconnected(Exception):
    """The client disconnected."""


class ByteBudget:
    """Bytes of bodies, counted as they arrive, and of responses until they are read. Thread-safe."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self.held = 0
        self.by_key: dict[UUID, int] = {}

    def take(self, key_id: UUID, count: int) -> None:
        """Count bytes. Raises TooMuch beyond the limit of one key, Unavailable beyond that of the node."""
        with self._turn:
            own = self.by_key.get(key_id, 0) + count
            if own > MAX_OF_KEY:
                raise TooMuch(retry_after=1)
            if self.held + count > MAX_IN_FLIGHT:
                raise problems.Unavailable("The node is at capacity. Try again shortly.", retry_after=1)
            self.held += count
            self.by_key[key_id] = own

    def give(self, key_id: UUID, count: int) -> None:
        """Release counted bytes."""
        with self._turn:
            self.held -= count
            left = self.by_key.get(key_id, 0) - count
            if left > 0:
                self.by_key[key_id] = left
            else:
                self.by_key.pop(key_id, None)


class Body:
    """A request's body: read up to the cap, or discarded so that a client still sending can read the response."""

    def __init__(self, receive: Receive, budget: ByteBudget) -> None:
        self._receive = receive
        self._budget = budget
        self._owner: UUID | None = None
        self._held = 0
        self._whole = False

    async def read(self, key_id: UUID) -> bytes:
        """Return the body, counted against a key until `release`.

        Raises TooLarge, TooMuch, RequestTimeout, ClientDisconnected.
        """
        self._owner = key_id
        parts = bytearray()
        try:
            async with asyncio.timeout(BODY_S):  # limits the first part too: a client may never start its body
                while not self._whole:
                    part, self._whole = await self._next()
                    self._count(len(part))
                    if self._whole and not parts:
                        return _capped(part)
                    parts += part
                    _capped(parts)
        except TimeoutError:
            self._whole = True  # stop waiting
            raise problems.RequestTimeout from None
        return bytes(parts)

    def answer(self, count: int) -> None:
        """Count the bytes of the response until `release`. Raises TooLarge, TooMuch, Unavailable.

        Called by the worker thread while the event loop waits for it.
        """
        if count > MAX_ANSWER:
            raise problems.TooLarge(
                f"The answer would have {count:,} bytes; at most {MAX_ANSWER:,} are sent. Send fewer rows at once."
            )
        self._count(count)

    def release(self) -> None:
        """Release the bytes of the body and its response."""
        if self._owner is not None:
            self._budget.give(self._owner, self._held)
            self._owner, self._held = None, 0

    def _count(self, count: int) -> None:
        if self._owner is not None:
            self._budget.take(self._owner, count)
            self._held += count

    async def discard(self) -> None:
        """Read and discard the rest of the body for a limited time."""
        self.release()
        seen = 0
        try:
            async with asyncio.timeout(DISCARD_S):
                while not self._whole and seen < MAX_DISCARDED:
                    part, self._whole = await self._next()
                    seen += len(part)
        except TimeoutError:
            return

    async def _next(self) -> tuple[bytes, bool]:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        return message.get("body", b""), not message.get("more_body", False)


def _capped(body: Bytes) -> Bytes:
    if len(body) > MAX_BODY:
        raise problems.TooLarge(f"At most {MAX_BODY:,} bytes are taken.")
    return body
