"""What the web server does with a body that is larger than any request may be: read past it, keep nothing, say so.

waitress alone would answer in plain text and close while the client still sends, so that most clients see a reset
connection and no answer. Here the rest of the body is read and dropped, and the application answers 413 in its own
words: a problem for the API, a page for a person.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import RequestEntityTooLarge

from tenants.answers import REFUSED

#: What is read past at most; a client that sends still more is cut off.
MOST_DROPPED = 1024**3


class Nowhere:
    """A buffer that keeps nothing."""

    def append(self, data: bytes) -> None:
        """Drop the bytes."""

    def __len__(self) -> int:
        return 0

    def getfile(self) -> BytesIO:
        """Return an empty file."""
        return BytesIO()

    def close(self) -> None:
        """There is nothing to close."""


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Reads requests; of one that is too large it reads the rest without keeping it."""

    completed: bool
    expect_continue: bool
    dropping = False
    dropped = 0

    def received(self, data: bytes) -> int:
        """Take in bytes of one request and return how many."""
        if self.dropping:
            return self._drop(data)
        consumed: int = super().received(data)
        # A client that waits for permission to send has sent nothing yet: it is told at once.
        waits = self.expect_continue and self.body_bytes_received == 0
        if self.completed and isinstance(self.error, RequestEntityTooLarge):
            self.expect_continue = False
            if not waits and (self.chunked or self.content_length <= MOST_DROPPED):
                self.body_rcv.buf.close()
                self.body_rcv.buf = Nowhere()
                self.dropping, self.completed = True, False
        return consumed

    def _drop(self, data: bytes) -> int:
        consumed: int = self.body_rcv.received(data)
        self.dropped += consumed
        self.completed = bool(self.body_rcv.completed or self.body_rcv.error) or self.dropped > MOST_DROPPED
        return consumed


class RefusalTask(WSGITask):  # type: ignore[misc]
    """Has the application answer a request whose body was dropped; the connection ends with the answer."""

    def get_environment(self) -> dict[str, Any]:
        """Return the request without a body, marked as refused."""
        environ: dict[str, Any] = super().get_environment()
        return environ | {REFUSED: 413, "wsgi.input": BytesIO(), "CONTENT_LENGTH": "0"}

    def execute(self) -> None:
        """Answer."""
        self.set_close_on_finish()
        super().execute()


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection."""

    parser_class = Parser

    @staticmethod
    def error_task_class(channel: Any, request: Any) -> ErrorTask | RefusalTask:
        """Return who answers a request that could not be taken: the application, once it is known what was asked for."""
        too_large = isinstance(request.error, RequestEntityTooLarge)
        return (RefusalTask if too_large else ErrorTask)(channel, request)
