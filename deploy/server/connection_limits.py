"""Connection limits of the serving and usage ports: their number, and timeouts for idle ones and unread responses.

uvicorn waits forever for the first request of a connection, for the rest of a request's header, and for a client that
does not read: closing a connection keeps unread data, in case it is read after all.
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
    """A connection closed if no complete request header arrives within 30 s, or it exceeds 64 KB.

    It also closes if its client does not read a response within 30 s.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._watch: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._header = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Accept the connection, or close it at once if there are too many."""
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
            return
        self._await_header()

    def data_received(self, data: bytes) -> None:
        """Process bytes; if they start a header, the rest of it must follow in time."""
        if self._watch is not None:
            self._header += len(data)
        super().data_received(data)
        if self._watch is None and self._idle:
            self._await_header()
        elif self._watch is not None and self._header > MAX_HEADER:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """Stop the header timeout."""
        self._forget()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Pause the app because too much is unread; close the connection unless that changes in time."""
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        """Resume the app."""
        self._stop_awaiting_reader()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Continue with the next request; if the connection closes, the rest must be read in time."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._await_reader()

    def timeout_keep_alive_handler(self) -> None:
        """Close an idle connection: what it has not read by now is dropped."""
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
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
