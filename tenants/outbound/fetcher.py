"""The fetcher: does one request for a client, if the guard permits it.

It looks a name up once, checks every address found, and connects to one of these addresses and no other. It follows no
redirect, knows no proxy and keeps no cookie. A request ends at its time limit whatever the other server does.
"""

from __future__ import annotations

import queue
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import certifi
import httpcore

from tenants.outbound import guard, wire
from tenants.outbound.allowed import Allowed

#: Requests at once, for all and for one tenant: what hangs for one leaves room for the others.
MOST_AT_ONCE, MOST_OF_ONE = 64, 8
LONGEST_S, MOST_ADDRESSES, MOST_ANSWER_HEADERS = 60.0, 4, 100
PATIENCE_S = 30.0
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"})
#: The fetcher writes these itself, or they would change what the connection means.
OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade", "te", "trailer", "expect"}
)


class Failed(Exception):
    """The request has no answer; `kind` is the one that the client raises an error for."""

    def __init__(self, kind: str, detail: str) -> None:
        self.kind = kind
        super().__init__(detail)


class Fetcher:
    """Answers clients on a unix socket."""

    def __init__(self, allowed: Allowed, authorities: Path | None = None) -> None:
        self.allowed = allowed
        self.trusted = ssl.create_default_context(cafile=certifi.where())
        if authorities is not None:
            self.trusted.load_verify_locations(authorities)
        self._lock = threading.Lock()
        self._running: Counter[str] = Counter()
        self._lookups = threading.BoundedSemaphore(MOST_AT_ONCE)

    def serve(self, listener: socket.socket) -> None:
        """Answer each connection in a thread of its own, for ever."""
        while True:
            connection, _ = listener.accept()
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            try:
                head, body = wire.receive(connection, time.monotonic() + PATIENCE_S)
                if head.get("op") == "ping":
                    wire.send(connection, {})
                    return
                try:
                    with self._place(str(head.get("tenant") or "")):
                        answer, content = self._do(head, body)
                except Failed as failed:
                    answer, content = {"error": failed.kind, "detail": str(failed)}, b""
                except guard.Refused as refused:
                    answer, content = {"error": "refused", "detail": str(refused)}, b""
                connection.settimeout(PATIENCE_S)
                wire.send(connection, answer, content)
            except OSError:
                return  # the client went away

    @contextmanager
    def _place(self, tenant: str) -> Iterator[None]:
        with self._lock:
            if self._running.total() >= MOST_AT_ONCE or (tenant and self._running[tenant] >= MOST_OF_ONE):
                raise Failed("busy", "too many requests at once: try again in a moment")
            self._running[tenant] += 1
        try:
            yield
        finally:
            with self._lock:
                self._running[tenant] -= 1
                if not self._running[tenant]:
                    del self._running[tenant]

    def _do(self, head: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        deadline = time.monotonic() + min(max(float(head["timeout_s"]), 0.1), LONGEST_S)
        destination = guard.parse(str(head["url"]), self.allowed)
        if head.get("op") == "parse":
            guard.check(destination, [destination.host] if destination.is_address else [], self.allowed)
            return {}, b""
        addresses = self._look_up(destination, deadline)
        guard.check(destination, addresses, self.allowed)
        if head.get("op") == "check":
            return {}, b""
        if head["method"] not in METHODS:
            raise guard.Refused(f"the method {head['method']} is not permitted")
        request = httpcore.Request(
            head["method"],
            httpcore.URL(
                scheme=b"https",
                host=destination.host.encode(),
                port=destination.port,
                target=destination.target.encode(),
            ),
            headers=_headers(destination, head, body),
            content=body,
        )
        return _exchange(request, _Pinned(addresses, deadline), self.trusted, head)

    def _look_up(self, destination: guard.Destination, deadline: float) -> list[str]:
        """Return the addresses of a host, from one lookup; a resolver that hangs costs a thread, not the time limit."""
        if destination.is_address:
            return [destination.host]
        if not self._lookups.acquire(blocking=False):
            raise Failed("busy", "too many names are being looked up: try again in a moment")
        found: queue.SimpleQueue[list[str] | OSError] = queue.SimpleQueue()
        threading.Thread(target=self._ask_resolver, args=(destination, found), daemon=True).start()
        try:
            answer = found.get(timeout=max(deadline - time.monotonic(), 0.001))
        except queue.Empty:
            raise Failed("timeout", "the name of the host was not found in time") from None
        if isinstance(answer, OSError) or not answer:
            raise Failed("connection", f"the host {destination.host} is not known")
        return answer

    def _ask_resolver(self, destination: guard.Destination, found: queue.SimpleQueue[list[str] | OSError]) -> None:
        try:
            rows = socket.getaddrinfo(destination.host, destination.port, type=socket.SOCK_STREAM)
            found.put(list(dict.fromkeys(_with_zone(row[4]) for row in rows)))
        except (OSError, UnicodeError) as error:
            found.put(error if isinstance(error, OSError) else OSError(str(error)))
        finally:
            self._lookups.release()


class _Pinned(httpcore.NetworkBackend):
    """Connects to the checked addresses and no other, whatever host is asked for, and stops at the deadline."""

    def __init__(self, addresses: list[str], deadline: float) -> None:
        self.addresses, self.deadline = addresses, deadline
        self.plain = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        last: Exception = httpcore.ConnectError("no address")
        tried = self.addresses[:MOST_ADDRESSES]
        for number, address in enumerate(tried):
            share = _left(self.deadline) / (len(tried) - number)
            try:
                return _Timed(self.plain.connect_tcp(address, port, share), self.deadline)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                last = error
        raise last


class _Timed(httpcore.NetworkStream):
    """A connection of which every step ends at the deadline."""

    def __init__(self, inner: httpcore.NetworkStream, deadline: float) -> None:
        self.inner, self.deadline = inner, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.inner.read(max_bytes, _left(self.deadline))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        # In parts: the time limit of a write holds for each.
        for start in range(0, len(buffer), 65_536):
            self.inner.write(buffer[start : start + 65_536], _left(self.deadline))

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        return _Timed(self.inner.start_tls(ssl_context, server_hostname, _left(self.deadline)), self.deadline)

    def get_extra_info(self, info: str) -> Any:
        return self.inner.get_extra_info(info)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise httpcore.ReadTimeout("the time is over")
    return left


def _exchange(
    request: httpcore.Request, backend: _Pinned, trusted: ssl.SSLContext, head: dict[str, Any]
) -> tuple[dict[str, Any], bytes]:
    most = min(int(head["max_bytes"]), wire.MOST_BODY_BYTES)
    try:
        with httpcore.ConnectionPool(ssl_context=trusted, network_backend=backend) as pool:
            response = pool.handle_request(request)
            try:
                content, whole = _read(response, most)
            finally:
                response.close()
    except httpcore.TimeoutException:
        raise Failed("timeout", "the server did not answer in time") from None
    except httpcore.ConnectError as error:
        if isinstance(error.__cause__, ssl.SSLError) or "SSL" in str(error) or "certificate" in str(error):
            raise Failed("tls", f"TLS failed: {_short(error)}") from None
        raise Failed("connection", f"no connection: {_short(error)}") from None
    except (httpcore.NetworkError, httpcore.ProtocolError, OSError) as error:
        raise Failed("connection", f"the connection failed: {_short(error)}") from None
    if not whole and not head.get("cut"):
        raise Failed("too_large", f"the answer is larger than {most:,} bytes")
    headers = [
        (name.decode("latin-1").lower(), value.decode("latin-1"))
        for name, value in response.headers[:MOST_ANSWER_HEADERS]
    ]
    return {"status": response.status, "headers": headers, "whole": whole}, content


def _read(response: httpcore.Response, most: int) -> tuple[bytes, bool]:
    """Return at most `most` bytes of a body, and whether that is all of it."""
    parts, size = [], 0
    for part in response.iter_stream():
        parts.append(part)
        size += len(part)
        if size > most:
            return b"".join(parts)[:most], False
    return b"".join(parts), True


def _headers(destination: guard.Destination, head: dict[str, Any], body: bytes) -> list[tuple[str, str]]:
    given: list[list[str]] = head["headers"]
    own = [("Host", destination.authority), ("Connection", "close"), ("Accept-Encoding", "identity")]
    if body or head["method"] in ("POST", "PUT", "PATCH"):
        own.append(("Content-Length", str(len(body))))
    for name, value in given:
        if name.lower() in OWN_HEADERS or name.lower().startswith("proxy-"):
            raise guard.Refused(f"the header {name} is not the caller's to set")
        if (
            not name.isascii()
            or not value.isascii()
            or any(ord(sign) < 32 or ord(sign) == 127 for sign in name + value)
        ):
            raise guard.Refused(f"the header {name!r} holds characters that no header may hold")
    kept = [(name, value) for name, value in given if name.lower() != "accept-encoding"]
    return own + kept


def _with_zone(address: tuple[Any, ...]) -> str:
    """Return a socket address as text, with its zone: the guard refuses what has one."""
    return f"{address[0]}%{address[3]}" if len(address) == 4 and address[3] and "%" not in address[0] else address[0]


def _short(error: Exception) -> str:
    return (str(error) or type(error).__name__)[:200]
