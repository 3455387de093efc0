"""The ASGI application of the usage server.

A plain delivery, which is a POST of JSON with a key, is read here and stored with others of its key. Every other
request to the route goes to Django's view. Both use the same functions to identify, limit, read, store and refuse.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from billing.reported.cloudevents import BATCH, SINGLE
from billing.reported.ingest import LARGEST_BODY, TooManyEvents
from billing.usage_server.calls import Answer, Call, Headers, Origin, Scope, Send, broken, refused
from billing.usage_server.django_route import Application, DjangoRoute, environ_of
from billing.usage_server.lanes import Lanes
from billing.usage_server.storing import Storage, groups, waiting
from tenants.asgi.bodies import Body, ByteBudget, Disconnected, Limits, Receive
from tenants.errors import ExchequerError, NotFound
from tenants.identity.authentication import LONGEST_KEY
from tenants.web import rate_limits
from tenants.web.requests import request_id_for

log = structlog.get_logger(__name__)

ROUTE = "/api/v1/events/"
PATHS = frozenset({ROUTE, ROUTE.rstrip("/")})
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})
KINDS = frozenset({SINGLE.encode(), BATCH.encode(), b"application/json"})
ACCEPTED = frozenset({b"", b"*/*", b"application/json", b"application/*"})
HEADERS: Headers = ((b"cache-control", b"private, no-store"), (b"x-content-type-options", b"nosniff"))
MOST_ORIGINS = 4_096
MIB = 1024 * 1024
LIMITS = Limits(
    body=LARGEST_BODY, too_large=TooManyEvents, of_key=16 * MIB, in_all=64 * MIB, discard_s=5, discarded=16 * MIB
)
#: A longer body is read only for a key that was looked up.
SMALL = 64 * 1024
NUL = b"\0"
#: Peer, Host and what proxies add.
Hop = tuple[str, bytes, bytes, bytes]


@dataclass(frozen=True)
class Surroundings:
    """What the process brings: Django's application, who asks, and a count of answers for monitoring.

    `client` returns the address behind trusted proxies for a WSGI environment, or None if its Host is not ours. `note`
    takes method, route, status and seconds.
    """

    django: Application
    client: Callable[[dict[str, Any]], str | None]
    note: Callable[[str, str, int, float], None]


@dataclass(frozen=True, slots=True)
class Head:
    """What the head of a plain delivery says."""

    key: str
    origin: Origin
    content_type: str


class Refused(Exception):
    """A body that is not read; the answer says why."""

    def __init__(self, answer: Answer) -> None:
        super().__init__()
        self.answer = answer


class App:
    """The application of one process."""

    def __init__(self, around: Surroundings) -> None:
        self.measures = (groups, waiting)
        self._around = around
        self._storage = Storage()
        self._budget = ByteBudget(LIMITS)
        self._origins: dict[Hop, str | None] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the lifespan or one request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self._lanes, self._django = Lanes(self._storage.store), DjangoRoute(self._around.django)
                waiting.set_function(lambda: self._lanes.waiting)
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await asyncio.to_thread(self._lanes.close)
                await asyncio.to_thread(self._django.close)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.monotonic()
        fields: dict[bytes, bytes] = dict(scope["headers"])
        request_id = request_id_for(fields.get(b"x-request-id", b"").decode("latin-1"))
        key = _key(fields)
        head = self._head(scope, fields, key)
        body = Body(receive, self._budget)
        try:
            try:
                if head is not None:
                    answer = await self._store(head, body, request_id)
                else:
                    answer = await self._ask_django(scope, key, body, request_id)
            except ExchequerError as error:
                await body.discard()
                answer = refused(error, request_id)
            except Refused as error:
                await body.discard()
                answer = error.answer
            except (Disconnected, asyncio.CancelledError):
                raise
            except Exception:
                log.exception("usage.request_failed", request_id=request_id)
                answer = broken(request_id)
            if head is not None:
                self._around.note("POST", ROUTE, answer.status, time.monotonic() - began)
            await _send(send, answer, request_id)
        except Disconnected:
            return
        finally:
            body.release()

    async def _store(self, head: Head, body: Body, request_id: str) -> Answer:
        rate_limits.count_events("key", head.key, rate_limits.PER_KEY)
        sent = await body.read(head.key, lambda: self._admit(head.key, head.origin, request_id), SMALL)
        future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._lanes.offer(Call(head.key, head.origin, request_id, head.content_type, sent, future))
        return await future

    async def _ask_django(self, scope: Scope, key: str, body: Body, request_id: str) -> Answer:
        if scope["path"] not in PATHS and scope["path"] not in PROBES:
            raise NotFound(f"There is no such route. POST {ROUTE} takes usage.")
        peer = _peer(scope)
        sent = await body.read(key or peer, lambda: self._admit(key, Origin(peer, ""), request_id), SMALL)
        return await self._django.answer(scope, sent)

    async def _admit(self, key: str, origin: Origin, request_id: str) -> None:
        """Refuse a large body unless its key may send usage."""
        if not self._storage.is_known(key):
            refusal = await self._django.run(lambda: self._storage.check(key, origin, request_id))
            if refusal is not None:
                raise Refused(refusal)

    def _head(self, scope: Scope, fields: dict[bytes, bytes], key: str) -> Head | None:
        """Return what the head of a plain delivery says; None for any other request."""
        if scope["method"] != "POST" or scope["path"] not in PATHS or scope["query_string"] or not key:
            return None
        # A header that is sent twice, or that holds what no text of ours does, is Django's to read.
        if (
            len(fields) != len(scope["headers"])
            or b"idempotency-key" in fields
            or any(NUL in one for one in fields.values())
        ):
            return None
        kind = fields.get(b"content-type", b"")
        if kind.partition(b";")[0] not in KINDS or not _takes_json(fields):
            return None
        ip = self._client(scope, fields)
        if ip is None:
            return None
        return Head(key, Origin(ip, fields.get(b"user-agent", b"").decode("latin-1")), kind.decode("latin-1"))

    def _client(self, scope: Scope, fields: dict[bytes, bytes]) -> str | None:
        hop = (
            _peer(scope),
            fields.get(b"host", b""),
            fields.get(b"x-forwarded-for", b""),
            fields.get(b"x-forwarded-proto", b""),
        )
        if hop not in self._origins:
            if len(self._origins) >= MOST_ORIGINS:
                self._origins.clear()
            self._origins[hop] = self._around.client(environ_of(scope))
        return self._origins[hop]


def _key(fields: dict[bytes, bytes]) -> str:
    """Return the key of a request; empty for none, and for a text that is too long for one."""
    scheme, _, key = fields.get(b"authorization", b"").decode("latin-1").partition(" ")
    key = key.strip()
    return key if scheme.lower() == "bearer" and len(key) <= LONGEST_KEY else ""


def _takes_json(fields: dict[bytes, bytes]) -> bool:
    accept = fields.get(b"accept", b"")
    return accept in ACCEPTED or any(part.strip() in ACCEPTED for part in accept.split(b",") if part)


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return str(client[0]) if client else ""


async def _send(send: Send, answer: Answer, request_id: str) -> None:
    headers = list(answer.headers)
    if not any(name == b"x-request-id" for name, _ in headers):  # an answer of Django's has headers of its own
        headers += [(b"x-request-id", request_id.encode()), *HEADERS]
    if answer.status != 204:
        headers.append((b"content-length", str(len(answer.body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
