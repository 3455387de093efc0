"""Bodies of requests: read up to a limit, in time, and within what may lie in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Hashable, MutableMapping
from dataclasses import dataclass
from typing import Any

from tenants.errors import ExchequerError, RateLimited, Unavailable

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Admit = Callable[[], Awaitable[None]]


class TooSlow(ExchequerError):
    """The body did not arrive in time. Send it again over a faster connection."""

    code = "request_timeout"
    status = 408


class TooManyBytes(RateLimited):
    """This key's requests, and the answers that it has not read, hold as many bytes here as one key may."""


class Disconnected(Exception):
    """The client left."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of a server, in bytes and seconds.

    `body` is the largest body, `too_large` returns the error of a larger one, `of_key` and `in_all` are what bodies and
    answers of one key and of all may hold. A body arrives within `arrive_s`; of one that is refused up to
    `discarded` bytes are read on for `discard_s`.
    """

    body: int
    too_large: Callable[[], ExchequerError]
    of_key: int
    in_all: int
    arrive_s: float = 30
    discard_s: float
    discarded: int


class ByteBudget:
    """Bytes of bodies, counted as they arrive, and of responses until they are read. Thread-safe."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._turn = threading.Lock()
        self.held = 0
        self.by_key: dict[Hashable, int] = {}

    def take(self, key: Hashable, count: int) -> None:
        """Count bytes. Raises TooManyBytes beyond the limit of one key, Unavailable beyond that of all."""
        with self._turn:
            own = self.by_key.get(key, 0) + count
            if own > self.limits.of_key:
                raise TooManyBytes(retry_after=1)
            if self.held + count > self.limits.in_all:
                raise Unavailable("This server is at capacity. Try again shortly.", retry_after=1)
            self.held += count
            self.by_key[key] = own

    def give_back(self, key: Hashable, count: int) -> None:
        """Release counted bytes."""
        with self._turn:
            self.held -= count
            left = self.by_key.get(key, 0) - count
            if left > 0:
                self.by_key[key] = left
            else:
                self.by_key.pop(key, None)


class Body:
    """A request's body: read up to the limit, or discarded so that a client still sending can read the response."""

    def __init__(self, receive: Receive, budget: ByteBudget) -> None:
        self._receive, self._budget = receive, budget
        self._key: Hashable = None
        self._held = 0
        self._complete = False

    async def read(self, key: Hashable, admit: Admit | None = None, unasked: int = 0) -> bytes:
        """Return the body, counted against a key until `release`; `admit` may refuse one of more than `unasked` bytes.

        Raises the error of a body that is too large, TooManyBytes, Unavailable, TooSlow, Disconnected.
        """
        self._key = key
        parts: list[bytes] = []
        try:
            async with asyncio.timeout(self._budget.limits.arrive_s):  # the first part, too: a client may never send it
                while not self._complete:
                    part = await self._next()
                    self.count(len(part))
                    if self._held > self._budget.limits.body:
                        raise self._budget.limits.too_large()
                    if admit and self._held > unasked:
                        await admit()
                        admit = None
                    parts.append(part)
        except TimeoutError:
            self._complete = True  # wait for no more of it
            raise TooSlow from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def count(self, more: int) -> None:
        """Count bytes, of the response as well, until `release`. Raises TooManyBytes, Unavailable."""
        if self._key is not None:
            self._budget.take(self._key, more)
            self._held += more

    async def discard(self) -> None:
        """Read on and keep nothing, for a limited time."""
        self.release()
        seen = 0
        try:
            async with asyncio.timeout(self._budget.limits.discard_s):
                while not self._complete and seen < self._budget.limits.discarded:
                    seen += len(await self._next())
        except TimeoutError:
            return

    def release(self) -> None:
        """Release the bytes of the body and its response."""
        if self._key is not None:
            self._budget.give_back(self._key, self._held)
            self._key, self._held = None, 0

    async def _next(self) -> bytes:
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        self._complete = not message.get("more_body", False)
        return bytes(message.get("body", b""))
