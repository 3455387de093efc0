"""Bodies of requests: read up to the limit, in time, and within what may lie in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from billing.reported.ingest import LARGEST_BODY, TooManyEvents
from billing.usage_server.calls import Receive
from tenants.errors import ExchequerError, RateLimited, Unavailable

MIB = 1024 * 1024
#: Bytes in memory until their requests are answered: of all, and of one key.
MOST_BYTES, MOST_BYTES_OF_KEY = 64 * MIB, 16 * MIB
#: A longer body is read only for a key that was looked up.
SMALL = 64 * 1024
BODY_S, DROP_S, MOST_DROPPED = 30, 5, 16 * MIB


class TooSlow(ExchequerError):
    """The request did not arrive in time. Send it again over a faster connection."""

    code, status = "request_timeout", 408


class TooManyBytes(RateLimited):
    """Requests of this key hold as much memory as those of one key may. Wait for their answers."""


class Disconnected(Exception):
    """The client left."""


class Budget:
    """Bytes that lie in memory. Used on the event loop alone."""

    def __init__(self) -> None:
        self.held = 0
        self.of: dict[str, int] = {}

    def take(self, key: str, size: int) -> None:
        """Count bytes of a key. Raises TooManyBytes beyond its share, Unavailable if nothing is left."""
        own = self.of.get(key, 0) + size
        if own > MOST_BYTES_OF_KEY:
            raise TooManyBytes(retry_after=1)
        if self.held + size > MOST_BYTES:
            raise Unavailable(retry_after=1)
        self.held += size
        self.of[key] = own

    def give_back(self, key: str, size: int) -> None:
        """Release counted bytes."""
        self.held -= size
        left = self.of.get(key, 0) - size
        if left > 0:
            self.of[key] = left
        else:
            self.of.pop(key, None)


class Body:
    """The body of one request."""

    def __init__(self, receive: Receive, budget: Budget, key: str) -> None:
        self._receive, self._budget, self._key = receive, budget, key
        self._held = 0
        self._complete = False

    async def read(self, admit: Callable[[], Awaitable[None]]) -> bytes:
        """Return the body; before more than SMALL bytes are kept, `admit` may refuse it.

        Raises TooManyEvents, TooSlow, TooManyBytes, Unavailable, Disconnected.
        """
        parts: list[bytes] = []
        admitted = False
        try:
            async with asyncio.timeout(BODY_S):
                while not self._complete:
                    part = await self._next()
                    self._budget.take(self._key, len(part))
                    self._held += len(part)
                    if self._held > LARGEST_BODY:
                        raise TooManyEvents
                    if self._held > SMALL and not admitted:
                        await admit()
                        admitted = True
                    parts.append(part)
        except TimeoutError:
            raise TooSlow from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def drop(self) -> None:
        """Read on and keep nothing, for a while: a client that still sends can then read the answer."""
        self.release()
        seen = 0
        try:
            async with asyncio.timeout(DROP_S):
                while not self._complete and seen < MOST_DROPPED:
                    seen += len(await self._next())
        except TimeoutError:
            return

    def release(self) -> None:
        """Release the bytes of the body."""
        if self._held:
            self._budget.give_back(self._key, self._held)
            self._held = 0

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        self._complete = not message.get("more_body", False)
        return bytes(message.get("body", b""))
