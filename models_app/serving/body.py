"""The body of a request: read up to the cap, within a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeVar

from models_app.serving import problems

Bytes = TypeVar("Bytes", bytes, bytearray)
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

MAX_BODY = 8 * 1024**2
MAX_DISCARDED = 64 * 1024**2
BODY_S = 30.0
DISCARD_S = 10.0


class Gone(Exception):
    """The client hung up."""


class Body:
    """A request's body: read up to the cap, or thrown away so that a client that still sends sees the answer."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._whole = False

    async def read(self) -> bytes:
        """Return the body. Raises TooLarge, RequestTimeout, Gone."""
        part, self._whole = await self._next()
        if self._whole:
            return _capped(part)
        parts = bytearray(part)
        try:
            async with asyncio.timeout(BODY_S):
                while not self._whole:
                    part, self._whole = await self._next()
                    parts += part
                    _capped(parts)
        except TimeoutError:
            self._whole = True  # wait no longer
            raise problems.RequestTimeout from None
        return bytes(parts)

    async def discard(self) -> None:
        """Read on for a while what will not be used."""
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
            raise Gone
        return message.get("body", b""), not message.get("more_body", False)


def _capped(body: Bytes) -> Bytes:
    if len(body) > MAX_BODY:
        raise problems.TooLarge(f"At most {MAX_BODY:,} bytes are taken.")
    return body
