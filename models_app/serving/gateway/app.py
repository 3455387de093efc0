"""The gateway of the serving node: raw ASGI, with no framework between a request and its batch."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from functools import partial
from typing import Any
from urllib.parse import unquote

import orjson
import structlog

from models_app.endpoints import playground_tokens
from models_app.serving.engine.batcher import Closed
from models_app.serving.engine.worker import Worker
from models_app.serving.gateway.limits import LIMITS, MAX_BODY, count_answer
from models_app.serving.node import Node
from models_app.serving.requests import problems, protocol_v2
from models_app.serving.requests.access import PLAYGROUND, Key, digest_of
from models_app.serving.requests.calls import Call, ServedAnswer, problem
from tenants.asgi.bodies import Body, ByteBudget, Disconnected, Receive
from tenants.errors import ExchequerError, RateLimited

log = structlog.get_logger(__name__)

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

ANSWER_S = 60.0
#: A Content-Length with more digits is too large in any case, and Python refuses to parse thousands of digits.
MAX_DIGITS = 10
TRYOUT = playground_tokens.HEADER.encode()
#: Raised where the endpoint has no worker here, perhaps since this request arrived.
NOT_SERVED: tuple[type[ExchequerError], ...] = (problems.NotReady, *problems.OF_CAUSES.values())
JSON: problems.Headers = [(b"content-type", b"application/json")]
TEXT: problems.Headers = [(b"content-type", b"text/plain; version=0.0.4")]
# Keys are set by code, never by a browser on its own: any page may call, as any program may.
CORS: problems.Headers = [(b"access-control-allow-origin", b"*"), (b"access-control-expose-headers", b"x-exchequer-cost, x-exchequer-model-version, x-request-id, retry-after")]  # fmt: skip
PREFLIGHT: problems.Headers = [(b"access-control-allow-methods", b"GET, POST"), (b"access-control-allow-headers", b"authorization, content-type"), (b"access-control-max-age", b"600")]  # fmt: skip


class App:
    """The ASGI application of one node."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.budget = ByteBudget(LIMITS)
        self._used = playground_tokens.Used()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the lifespan or one request; close any other connection."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        request_id = secrets.token_hex(8)
        sent = Body(receive, self.budget)
        try:
            answer = await self._tried(scope, sent, request_id)
            headers = [
                *answer.headers,
                (b"content-length", str(len(answer.body)).encode()),
                (b"x-request-id", request_id.encode()),
                *CORS,
            ]
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            body = b"" if scope["method"] == "HEAD" else answer.body
            await send({"type": "http.response.body", "body": body, "more_body": True})
            # The server accepts more body before its next wait, so return once the body was read.
            await send({"type": "http.response.body", "body": b""})
        except Disconnected:
            return
        finally:
            sent.release()

    async def _tried(self, scope: Scope, sent: Body, request_id: str) -> ServedAnswer:
        try:
            return await self._route(scope, sent, request_id)
        except Disconnected:
            raise
        except ExchequerError as error:
            self.node.telemetry.refuse(error.code)
            return problem(error, request_id)
        except Exception:
            log.exception("request.failed", request_id=request_id)
            answer = problem(problems.Broken(), request_id)
            self.node.telemetry.refuse(answer.code)
            return answer

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.node.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                await asyncio.to_thread(self.node.stop)
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _route(self, scope: Scope, sent: Body, request_id: str) -> ServedAnswer:
        method, path = "GET" if scope["method"] == "HEAD" else scope["method"], scope["path"]
        if method == "OPTIONS":
            return ServedAnswer(204, PREFLIGHT, b"")
        match path.strip("/").split("/"):
            case ["v1", "models", name] if name.endswith(":predict"):
                _only(method, "POST")
                return await self._call(scope, sent, request_id, 1, unquote(name.removesuffix(":predict")))
            case ["v2", "models", name, "infer"]:
                _only(method, "POST")
                return await self._call(scope, sent, request_id, 2, unquote(name))
            case ["v2", "models", name, "versions", version, "infer"]:
                _only(method, "POST")
                return await self._call(scope, sent, request_id, 2, unquote(name), version)
        _only(method, "GET")
        match path.strip("/").split("/"):
            case ["v2", "health", "live"] | ["healthz"]:
                return ServedAnswer(200, JSON, b'{"live":true}')
            case ["v2", "health", "ready"] | ["readyz"]:
                if not self.node.ready:
                    raise problems.NotReady
                return ServedAnswer(200, JSON, b'{"ready":true}')
            case ["v2"]:
                return ServedAnswer(
                    200, JSON, orjson.dumps({"name": "exchequer", "version": "1", "extensions": ["binary_tensor_data"]})
                )
            case ["metrics"]:
                return ServedAnswer(200, TEXT, self.node.telemetry.text(await asyncio.to_thread(self.node.gauges)))
            case ["v2", "models", name] | ["v2", "models", name, "ready"]:
                return await self._model(scope, unquote(name), "", ready=path.rstrip("/").endswith("/ready"))
            case ["v2", "models", name, "versions", version] | ["v2", "models", name, "versions", version, "ready"]:
                return await self._model(scope, unquote(name), version, ready=path.rstrip("/").endswith("/ready"))
        raise problems.NoSuchModel("There is no such route. POST /v1/models/NAME:predict or /v2/models/NAME/infer.")

    async def _model(self, scope: Scope, name: str, version: str, *, ready: bool) -> ServedAnswer:
        key = await self._key(_header(scope, b"authorization"), confirmed=True)  # no batch will check it
        worker = self._worker(key, name, version)
        if ready:
            return ServedAnswer(200, JSON, b'{"ready":true}')
        order = worker.order
        described = protocol_v2.metadata(order.name, str(order.number), worker.model.intake, len(worker.model.classes))
        return ServedAnswer(200, JSON, orjson.dumps(described))

    async def _call(
        self, scope: Scope, sent: Body, request_id: str, protocol: int, name: str, version: str = ""
    ) -> ServedAnswer:
        arrived = self.node.clock()
        authorization = encoding = length = header_length = tried = b""
        for header, value in scope["headers"]:
            if header == b"authorization":
                authorization = value
            elif header == b"content-length":
                length = value
            elif header == b"content-encoding":
                encoding = value
            elif header == b"inference-header-content-length":
                header_length = value
            elif header == TRYOUT:
                tried = value
        try:
            key = self._pass(tried) if tried else await self._key(authorization)
            if encoding not in (b"", b"identity"):
                raise problems.WrongMedia
            if length.isdigit() and int(length) > MAX_BODY:
                raise problems.TooLarge(f"The body has {int(length):,} bytes; at most {MAX_BODY:,} are taken.")
            if header_length and not (header_length.isdigit() and len(header_length) <= MAX_DIGITS):
                raise problems.BadBody("Inference-Header-Content-Length is a number of bytes.")
            if self.node.find(key.endpoint_id) is None:
                raise await asyncio.to_thread(self.node.why_not, key)
            worker = self._worker(key, name, version)
            self._limit(key, worker)
            body = await sent.read(key.id)
            return await self._answered(
                lambda: self._worker(key, name, version),
                Call(
                    protocol, body, int(header_length) if header_length else None, key, request_id, arrived,
                    loop := asyncio.get_running_loop(), loop.create_future(), partial(count_answer, sent),
                ),
            )  # fmt: skip
        except ExchequerError as error:
            await sent.discard()
            if not tried and isinstance(error, NOT_SERVED):
                # The endpoint left after the key was trusted: the key may have been revoked with it.
                await self._key(authorization, confirmed=True)
            raise

    async def _answered(self, find: Callable[[], Worker], call: Call) -> ServedAnswer:
        """Queue a call for the worker of its endpoint, and its version if it names one; return the response."""
        for _ in range(2):
            worker = find()
            try:
                worker.batcher.offer(call, len(call.body))
            except Closed:  # replaced by another version just now, or undeployed
                continue
            except ExchequerError as error:
                worker.traffic.refused(worker.order, error.code)
                raise
            try:
                await asyncio.wait({call.future}, timeout=ANSWER_S)
                if not call.future.done() and not call.give_up():  # being recorded: sent, though late
                    await asyncio.wait({call.future}, timeout=ANSWER_S)
                if call.future.done():
                    return call.future.result()
            except asyncio.CancelledError:
                call.give_up()
                raise
            log.error("request.unanswered", request_id=call.request_id)
            worker.traffic.refused(worker.order, problems.Unavailable.code)
            raise problems.Unavailable
        raise problems.NotReady

    async def _key(self, authorization: bytes, *, confirmed: bool = False) -> Key:
        """Return the key of a request; look it up if it was not verified within the last minute.

        With `confirmed` it is looked up in any case, as long as the database is reachable.
        """
        digest = digest_of(authorization)
        if digest is None:
            raise problems.Unauthenticated
        key = self.node.key_checker.fresh(digest)
        # Check again if the endpoint is not here: the key may be revoked together with its endpoint.
        known = key if key is not None and self.node.find(key.endpoint_id) is not None else None
        if known is not None and not confirmed:
            return known
        loop = asyncio.get_running_loop()
        answered = asyncio.Event()
        ticket = self.node.key_checker.ask({digest}, lambda: _wake(loop, answered))
        try:
            await asyncio.wait_for(answered.wait(), 5)
        except TimeoutError:
            raise problems.Unavailable from None
        if ticket.away:
            if known is not None:
                return known
            raise problems.Unavailable
        key = self.node.key_checker.keys.get(digest)
        if key is None:
            raise problems.Unauthenticated("This endpoint key is unknown or revoked.")
        return key

    def _pass(self, text: bytes) -> Key:
        """Return the key behind a single-use token of the playground."""
        now = time.time()
        try:
            taken = playground_tokens.verify(self.node.secret, text.decode("latin-1"), now_s=now)
            self._used.take(taken, now_s=now)
        except (playground_tokens.BadPlaygroundToken, UnicodeEncodeError) as error:
            raise problems.Unauthenticated(str(error)) from error
        return Key(PLAYGROUND, taken.tenant_id, taken.endpoint_id, taken.user_id, None, self.node.clock())

    def _worker(self, key: Key, name: str, version: str) -> Worker:
        worker = self.node.find(key.endpoint_id)
        if worker is None:
            raise problems.NotReady
        if worker.order.name != name or (version and version != str(worker.order.number)):
            raise problems.NoSuchModel
        return worker

    def _limit(self, key: Key, worker: Worker) -> None:
        wait = key.bucket.take(self.node.clock()) if key.bucket is not None else 0.0
        if wait > 0:
            worker.traffic.refused(worker.order, RateLimited.code)
            raise RateLimited(
                f"This key may send {key.bucket.per_minute if key.bucket else 0} requests a minute.",
                retry_after=max(1, int(wait + 0.999)),
            )


def _wake(loop: asyncio.AbstractEventLoop, answered: asyncio.Event) -> None:
    with suppress(RuntimeError):  # the loop has ended, no client waits
        loop.call_soon_threadsafe(answered.set)


def _only(method: str, allowed: str) -> None:
    if method != allowed:
        raise problems.MethodNotAllowed(f"This route takes {allowed}.")


def _header(scope: Scope, name: bytes) -> bytes:
    for header, value in scope["headers"]:
        if header == name:
            return bytes(value)
    return b""
