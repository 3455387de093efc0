"""Request bodies at the web server: limited by route and sender, counted together, with a minimum speed.

waitress buffers a body, in a file from half a megabyte on, before the application sees the request. So here a large
body is accepted only at upload routes, and only after the application has checked the headers and admitted the sender.
All bodies being received share a cap, of which one sender has at most half; and each must keep a minimum speed. The
rest of any other body is read and dropped, so that the client reads a response instead of a reset connection, and the
application responds in its own words: a problem for the API, a page for a person.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.task import ErrorTask
from waitress.utilities import Error, RequestEntityTooLarge

from config.web.proxies import TrustedProxies
from deploy.server.request_tasks import Gate, RefusalTask, Refused, Task
from deploy.server.upload_limits import ANYBODY, MIB, UPLOADS, DiscardBuffer
from tenants.errors import ExchequerError, RateLimited, Unavailable
from tenants.web.large_bodies import SMALL, taken_at

#: Maximum bytes read and dropped; a client that sends more is cut off.
MOST_DROPPED = 1024 * MIB
#: Up to this a body stays in memory (waitress's own figure); anything beyond is counted.
IN_MEMORY = 512 * 1024
#: Chunk sizes and trailers may exceed the content of the chunks by this many bytes.
FRAME = 64 * 1024
#: waitress would answer any other version, and read no chunks in it.
VERSIONS = ("1.0", "1.1")


class TooSlow(ExchequerError):
    """The request did not arrive in time. Send it again over a faster connection."""

    code, status = "request_timeout", 408


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """Parses requests; the rest of a refused body is read and dropped."""

    completed: bool
    expect_continue: bool
    error: Any
    dropping = False
    dropped = 0
    counted = 0
    budget = ANYBODY
    sender = ""
    most: int | None = None
    proxy_netloc = ""  # waitress sets it if it can parse the first line
    asking = asked = False  # the application is checking whether this body may come; nothing is read meanwhile
    continues = False

    def __init__(self, adj: Any, client: Callable[[dict[str, str]], str] = lambda headers: "") -> None:
        super().__init__(adj)
        self.client = client

    @property
    def came(self) -> int:
        """Return the number of bytes received for this request."""
        return int(self.header_bytes_received + self.body_bytes_received) + self.dropped

    def received(self, data: bytes) -> int:
        """Process bytes of one request and return how many."""
        if self.dropping:
            return self._drop(data)
        consumed: int = super().received(data)
        if self.headers_finished and self.most is None:
            self._begin()
        if self.error is None and self.most is not None:
            self._count()
        if self.completed and isinstance(self.error, RequestEntityTooLarge | Refused):
            self.drop(self.error)
        self._weigh()
        return consumed

    def parse_header(self, header_plus: bytes) -> None:
        """Parse the head of a request; an invalid one is a 400, and so is one whose body may end in two places."""
        try:
            super().parse_header(header_plus)
        except (
            ValueError
        ) as unreadable:  # waitress lets some of urlsplit's errors pass, which would reset the connection
            raise ParsingError("Bad URI") from unreadable
        # A proxy that counts bytes where waitress reads chunks, or the other way round, would take the rest of the body
        # for another person's request (RFC 9112, 6.1 and 11.2). waitress removes the header from requests of HTTP/1.1.
        both = self.chunked and "CONTENT_LENGTH" in self.headers
        if both or "TRANSFER_ENCODING" in self.headers or self.version not in VERSIONS:
            raise ParsingError("Ambiguous end of the body")

    def _weigh(self) -> None:
        """Give up a chunked body with more framing than content: it may be endless, and each chunk costs work."""
        if self.chunked and not self.completed:
            content = len(self.body_rcv)
            if self.body_bytes_received + self.dropped > 2 * content + FRAME:
                self.give_up(Refused(400))

    def _begin(self) -> None:
        """Determine host and permitted body size from the head of a request."""
        # An absolute URL in the request line counts, and the header Host does not (RFC 9112, 3.2.2).
        if self.proxy_netloc:
            self.headers["HOST"] = self.proxy_netloc
        self.most = SMALL
        large = self.chunked or self.content_length > SMALL
        if self.error is not None or self.empty:
            return
        self.sender = self.client(self.headers)
        if not large:
            return
        if taken_at(self.command, self.path):
            self.most, self.budget = self.adj.max_request_body_size, UPLOADS
            self.asking, self.continues, self.expect_continue = True, self.expect_continue, False
        elif self.content_length > SMALL:
            self.error, self.completed = RequestEntityTooLarge(f"more than {SMALL} bytes"), True

    def _count(self) -> None:
        kept = max(0, self.body_bytes_received - IN_MEMORY) - self.counted
        if self.body_bytes_received > (self.most or 0):
            self.error, self.completed = RequestEntityTooLarge(f"more than {self.most} bytes"), True
        elif kept > 0:
            try:
                self.budget.take(kept, self.sender)
                self.counted += kept
            except (RateLimited, Unavailable) as full:
                self.error, self.completed = Refused(full), True

    def drop(self, error: Error) -> bool:
        """Drop the rest of the body; return whether the request is complete, because none of it was sent yet."""
        self.error = error
        # A client waiting for permission to send has sent nothing yet: it gets the response at once.
        waits = (self.expect_continue or self.continues) and self.body_bytes_received == 0
        self.expect_continue = self.continues = self.asking = False
        size = len(self.body_rcv or b"")
        self._empty()
        if waits or not (self.chunked or self.content_length <= MOST_DROPPED):
            self.completed = True
        elif not (self.body_rcv.completed or self.body_rcv.error):
            self.body_rcv.buf = DiscardBuffer(size)
            self.dropping, self.completed = True, False
        return self.completed

    def give_up(self, error: Error) -> None:
        """Drop the body and wait for no more of it; an earlier refusal keeps its reason."""
        self.error = self.error if self.dropping else error
        self.completed, self.dropping = True, False
        self.expect_continue = False
        self._empty()
        if self.body_rcv is not None:
            self.body_rcv.buf = DiscardBuffer()

    def _drop(self, data: bytes) -> int:
        consumed: int = self.body_rcv.received(data)
        self.dropped += consumed
        self.completed = bool(self.body_rcv.completed or self.body_rcv.error) or self.dropped > MOST_DROPPED
        self._weigh()
        return consumed

    def _empty(self) -> None:
        if self.body_rcv is not None:
            self.body_rcv.getbuf().close()
        self.budget.give_back(self.counted, self.sender)
        self.counted = 0

    def close(self) -> None:
        """Release the buffers after the response, or when the client is gone."""
        self._empty()


class Channel(HTTPChannel):  # type: ignore[misc]
    """One client connection."""

    task_class = Task
    parser_class: Callable[[Any], Parser]
    request: Any
    sent_continue: bool
    connected: bool
    proxies: TrustedProxies | None = None
    looked: tuple[Parser | None, int] = (None, 0)
    """The request in progress at the last check, and the bytes received by then."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.parser_class = partial(Parser, client=self.client)

    def client(self, headers: dict[str, str]) -> str:
        """Return the sender's address, through trusted proxies only."""
        peer = str(self.addr[0]) if self.addr else ""
        chain = [part.strip() for part in headers.get("X_FORWARDED_FOR", "").split(",") if part.strip()]
        return self.proxies.client(peer, chain)[0] if self.proxies else peer

    def keep_pace(self, least: int) -> None:
        """Refuse a request with less than `least` bytes since the last check."""
        with self.requests_lock:
            request: Parser | None = self.request
            before = self.looked
            if request is None or not self.readable():
                self.looked = (None, 0)
                return
            self.looked = (request, request.came)
            if before[0] is not request or request.came - before[1] >= least:
                return
            if request.headers_finished:
                request.give_up(Refused(TooSlow()))
                self.requests.append(request)
                self.request = None
                self.server.add_task(self)
                return
        self.handle_close()

    def readable(self) -> bool:
        """Return whether more may be read: not while the application is being asked."""
        request = self.request
        return bool(super().readable()) and not (request is not None and request.asking)

    def received(self, data: bytes) -> bool:
        """Process bytes; ask about a large body once its head is complete."""
        result: bool = super().received(data)
        if self.request is not None and self.request.asking and not self.request.asked:
            self.request.asked = True
            self.server.add_task(Gate(self, self.request))
        return result

    def answered(self, request: Parser, refused: Refused | None) -> None:
        """Continue with an accepted body, or drop it."""
        with self.requests_lock:
            if request is self.request and self.connected:
                if refused is None:
                    request.expect_continue, request.continues, request.asking = request.continues, False, False
                    if request.expect_continue and not self.requests and not self.sent_continue:
                        self.send_continue()
                elif request.drop(refused):
                    self.requests.append(request)
                    self.request = None
                    if len(self.requests) == 1:
                        self.server.add_task(self)
        self.server.pull_trigger()

    def handle_close(self) -> None:
        """Close, and release an unfinished request's bytes at once."""
        if self.request is not None:
            self.request.close()
            self.request = None
        super().handle_close()

    @staticmethod
    def error_task_class(channel: Any, request: Any) -> ErrorTask | RefusalTask:
        """Return the task that responds to a refused request: the application, once the target is known."""
        known = isinstance(request.error, RequestEntityTooLarge | Refused)
        return (RefusalTask if known else ErrorTask)(channel, request)
