"""Connections of the serving port: so many at once, none for long without a request, none for long with an answer unread.

uvicorn waits for ever for the first request of a connection, for the rest of a request's header, and for who does not
read: closing a connection keeps what is unread, for it to be read after all.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST = 2048
HEADER_S = 30.0
UNREAD_S = 30.0
MAX_HEADER = 64 * 1024


class TimeoutProtocol(HttpToolsProtocol):
    """A connection that ends when no whole header of a request has come within 30 s, or it is beyond 64 KB.

    And when its client has not read within 30 s what it was sent.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watch: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._header = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or close it at once when there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
            return
        self._await_header()

    def data_received(self, data: bytes) -> None:
        """Take bytes; where they begin a header, the rest of it must follow in time."""
        if self._watch is not None:
            self._header += len(data)
        super().data_received(data)
        if self._watch is None and self._idle:
            self._await_header()
        elif self._watch is not None and self._header > MAX_HEADER:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """Wait for no header any more."""
        self._forget()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Hold back the app, since more is unread than is sent ahead; end the connection unless that changes in time."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Let the app go on."""
        self._stop_awaiting_reader()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Go on with the next request; of a connection that closes, the rest must be read in time."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_reader()

    def timeout_keep_alive_handler(self) -> None:
        """End a connection that asked nothing more: what it has not read by now it will not."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Let go."""
        self._forget()
        self._stop_awaiting_reader()
        super().connection_lost(exc)

    @property
    def _idle(self) -> bool:
        return self.cycle is None or bool(self.cycle.response_complete)

    def _await_header(self) -> None:
        self._header = 0
        self._watch = self.loop.call_later(HEADER_S, self._late)

    def _late(self) -> None:
        self._watch = None
        if self._idle:
            self.transport.abort()

    def _await_reader(self) -> None:
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_S, self.transport.abort)

    def _stop_awaiting_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _forget(self) -> None:
        if self._watch is not None:
            self._watch.cancel()
            self._watch = None
