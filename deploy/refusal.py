"""What the web server does with bodies: it takes in no more than may be sent there, by whom it may be, and counts them all.

waitress buffers a body, in a file from half a megabyte on, before the application sees anything of the request. So here
a large body is taken in only where files are uploaded, and only after the application has looked at the headers and
let the sender in; and all bodies that are taken in at once share a cap. Of any other body the rest is read and dropped,
so that the client reads an answer instead of a reset connection, and the application answers in its own words: a
problem for the API, a page for a person.
"""

from __future__ import annotations

import threading
from io import BytesIO
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser
from waitress.task import ErrorTask, WSGITask
from waitress.utilities import Error, RequestEntityTooLarge

from tenants.answers import REFUSED
from tenants.large_bodies import SMALL, may_send, taken_at

MIB = 1024 * 1024
#: What is read past at most; a client that sends still more is cut off.
MOST_DROPPED = 1024 * MIB
#: Up to this a body lies in memory (waitress's own figure); what is beyond is counted.
IN_MEMORY = 512 * 1024


class NotLetIn(Error):  # type: ignore[misc]
    """The application answers without the body: it knows why."""

    code, reason = 403, "Forbidden"


class NoRoom(Error):  # type: ignore[misc]
    """Too much is being sent at once."""

    code, reason = 503, "Service Unavailable"


class Room:
    """How many bytes of bodies lie on disk at once, in this process; `share` divides the whole between processes."""

    def __init__(self, most: int, least: int) -> None:
        self.most = self.whole = most
        self.least = least
        self.used = 0
        self.lock = threading.Lock()

    def share(self, processes: int) -> None:
        """Leave the other processes their part; `least` always has room."""
        self.most = max(self.whole // processes, self.least)

    def take(self, size: int) -> bool:
        """Count more bytes; False when there is no room for them."""
        with self.lock:
            if self.used + size > self.most:
                return False
            self.used += size
            return True

    def give_back(self, size: int) -> None:
        """The bytes are gone."""
        with self.lock:
            self.used -= size


#: For files of people who were let in, and for what anybody may send.
UPLOADS, ANYBODY = Room(512 * MIB, 80 * MIB), Room(128 * MIB, 32 * MIB)


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
    """Reads requests; of a body that is not taken in it reads the rest without keeping it."""

    completed: bool
    expect_continue: bool
    error: Any
    dropping = False
    dropped = 0
    counted = 0
    room = ANYBODY
    most: int | None = None
    asking = asked = False
    """The application is being asked whether this body may come; nothing is read meanwhile."""
    continues = False

    def received(self, data: bytes) -> int:
        """Take in bytes of one request and return how many."""
        if self.dropping:
            return self._drop(data)
        consumed: int = super().received(data)
        if self.headers_finished and self.most is None:
            self._begin()
        if self.error is None and self.most is not None:
            self._count()
        if self.completed and isinstance(self.error, RequestEntityTooLarge | NoRoom):
            self.drop(self.error)
        return consumed

    def _begin(self) -> None:
        """Decide by the head of a request how much body it may have."""
        self.most = SMALL
        large = self.chunked or self.content_length > SMALL
        if self.error is not None or self.empty or not large:
            return
        if taken_at(self.command, self.path):
            self.most, self.room = self.adj.max_request_body_size, UPLOADS
            self.asking, self.continues, self.expect_continue = True, self.expect_continue, False
        elif self.content_length > SMALL:
            self.error, self.completed = RequestEntityTooLarge(f"more than {SMALL} bytes"), True

    def _count(self) -> None:
        kept = max(0, self.body_bytes_received - IN_MEMORY) - self.counted
        if self.body_bytes_received > (self.most or 0):
            self.error, self.completed = RequestEntityTooLarge(f"more than {self.most} bytes"), True
        elif kept > 0 and not self.room.take(kept):
            self.error, self.completed = NoRoom("too many uploads at once"), True
        elif kept > 0:
            self.counted += kept

    def drop(self, error: Error) -> bool:
        """Keep nothing of the body from now on; return whether the request is complete, because it sends none yet."""
        self.error = error
        # A client that waits for permission to send has sent nothing yet: it is told at once.
        waits = (self.expect_continue or self.continues) and self.body_bytes_received == 0
        self.expect_continue = self.continues = self.asking = False
        self._empty()
        if waits or not (self.chunked or self.content_length <= MOST_DROPPED):
            self.completed = True
        elif not (self.body_rcv.completed or self.body_rcv.error):
            self.body_rcv.buf = Nowhere()
            self.dropping, self.completed = True, False
        return self.completed

    def _drop(self, data: bytes) -> int:
        consumed: int = self.body_rcv.received(data)
        self.dropped += consumed
        self.completed = bool(self.body_rcv.completed or self.body_rcv.error) or self.dropped > MOST_DROPPED
        return consumed

    def _empty(self) -> None:
        if self.body_rcv is not None:
            self.body_rcv.getbuf().close()
        self.room.give_back(self.counted)
        self.counted = 0

    def close(self) -> None:
        """The request was answered, or its client is gone."""
        self._empty()


class RefusalTask(WSGITask):  # type: ignore[misc]
    """Has the application answer a request whose body was dropped; the connection ends with the answer."""

    def get_environment(self) -> dict[str, Any]:
        """Return the request without a body, marked as refused unless the application itself knows why."""
        environ: dict[str, Any] = super().get_environment()
        request = self.request
        status = 503 if isinstance(request.error, NoRoom) else 413
        if isinstance(request.error, NotLetIn):
            whole = request.body_bytes_received + request.dropped
            status = 413 if whole >= self.channel.adj.max_request_body_size else 0
        return environ | {REFUSED: status, "wsgi.input": BytesIO(), "CONTENT_LENGTH": "0"}

    def execute(self) -> None:
        """Answer."""
        self.set_close_on_finish()
        super().execute()


class Gate:
    """A task for a thread: ask the application whether a body may come."""

    def __init__(self, channel: Channel, request: Parser) -> None:
        self.channel = channel
        self.request = request

    def service(self) -> None:
        """Ask, and let the channel read on."""
        try:
            fine = may_send(WSGITask(self.channel, self.request).get_environment())
        except Exception:
            self.channel.logger.exception("cannot ask whether a body may come")
            fine = False
        self.channel.answered(self.request, fine)

    def cancel(self) -> None:
        """The server ends."""


class Channel(HTTPChannel):  # type: ignore[misc]
    """One connection."""

    parser_class = Parser
    request: Any
    sent_continue: bool
    connected: bool

    def readable(self) -> bool:
        """Return whether more may be read: not while the application is being asked."""
        request = self.request
        return bool(super().readable()) and not (request is not None and request.asking)

    def received(self, data: bytes) -> bool:
        """Take in bytes; ask about a large body when its head is there."""
        result: bool = super().received(data)
        if self.request is not None and self.request.asking and not self.request.asked:
            self.request.asked = True
            self.server.add_task(Gate(self, self.request))
        return result

    def answered(self, request: Parser, fine: bool) -> None:
        """Go on with a body that may come, or drop it."""
        with self.requests_lock:
            if request is self.request and self.connected:
                if fine:
                    request.expect_continue, request.continues, request.asking = request.continues, False, False
                    if request.expect_continue and not self.requests and not self.sent_continue:
                        self.send_continue()
                elif request.drop(NotLetIn("the application says why")):
                    self.requests.append(request)
                    self.request = None
                    if len(self.requests) == 1:
                        self.server.add_task(self)
        self.server.pull_trigger()

    def handle_close(self) -> None:
        """Close; what an unfinished request has sent is gone at once."""
        if self.request is not None:
            self.request.close()
            self.request = None
        super().handle_close()

    @staticmethod
    def error_task_class(channel: Any, request: Any) -> ErrorTask | RefusalTask:
        """Return who answers a request that could not be taken: the application, once it is known what was asked for."""
        known = isinstance(request.error, RequestEntityTooLarge | NotLetIn | NoRoom)
        return (RefusalTask if known else ErrorTask)(channel, request)
