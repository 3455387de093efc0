"""The load client, a separate process: `connections` callers that each send the next request after a response.

python -m bench.client PORT --connections 64 --seconds 3 --slow 200 < request

The request, head and body, is read from standard input; one line of JSON is written. `--slow` holds that many more
connections open, each sending a byte of a request's head at intervals.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import socket
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from typing import cast

import uvloop

from bench.load import Answers, Seen, Unreadable, seen

HOST = "127.0.0.1"
#: The head of a request that never ends, a byte at a time.
SLOW_HEAD = b"POST / HTTP/1.1\r\nHost: localhost\r\nX-Slow: "
SLOW_EVERY_S = 0.5
LEAST_RETRY_S = 0.01


#: What each request has a number of its own for, of the same length.
FRESH = "@@@@@@@@@@@@@@@@"


class Round:
    """State shared by the callers: the request, the end of the round, and the counts."""

    def __init__(self, port: int, request: bytes, ends: float) -> None:
        self.port, self.ends = port, ends
        self._request, self._renewed = request, FRESH.encode() in request
        self._number = secrets.randbits(63) >> 16 << 16
        self.latencies: list[float] = []
        self.failed = 0

    def next_request(self) -> bytes:
        """Return what is sent next."""
        if not self._renewed:
            return self._request
        self._number += 1
        return self._request.replace(FRESH.encode(), b"%016x" % self._number)


class Caller(asyncio.Protocol):
    """One connection: request after request until the round ends. A closed connection is reopened."""

    def __init__(self, shared: Round, began: float) -> None:
        self._shared = shared
        self._began = began
        self._answers = Answers()
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request; its time includes connecting."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.write(self._shared.next_request())

    def data_received(self, data: bytes) -> None:
        """Count a complete response and send the next request."""
        now = time.perf_counter()
        try:
            answer = self._answers.feed(data)
        except Unreadable:
            self._transport.abort()
            return
        if answer is None:
            return
        if now <= self._shared.ends:
            if answer.is_good:
                self._shared.latencies.append(now - self._began)
            else:
                self._shared.failed += 1
        if answer.closes or now >= self._shared.ends:
            self._began = 0.0
            self._transport.close()
            return
        self._began = time.perf_counter()
        self._transport.write(self._shared.next_request())

    def connection_lost(self, error: Exception | None) -> None:
        """Count the pending request as failed."""
        if self._began and time.perf_counter() < self._shared.ends:
            self._shared.failed += 1
        if not self.over.done():
            self.over.set_result(None)


async def call(shared: Round) -> None:
    """Keep one caller busy until the round ends."""
    loop = asyncio.get_running_loop()
    while (began := time.perf_counter()) < shared.ends:
        try:
            transport, caller = await loop.create_connection(
                lambda began=began: Caller(shared, began), HOST, shared.port
            )
        except OSError:
            shared.failed += 1
            await asyncio.sleep(LEAST_RETRY_S)
            continue
        with suppress(TimeoutError):
            await asyncio.wait_for(caller.over, shared.ends - time.perf_counter() + 0.5)
        transport.abort()


async def dawdle(sockets: list[socket.socket]) -> None:
    """Send a byte on each slow connection at intervals; drop those that the server closed."""
    while True:
        for one in list(sockets):
            try:
                one.send(b"x")
                with suppress(BlockingIOError):
                    if one.recv(1024) == b"":
                        raise ConnectionResetError
            except BlockingIOError:
                continue
            except OSError:
                one.close()
                sockets.remove(one)
        await asyncio.sleep(SLOW_EVERY_S)


async def run(port: int, request: bytes, *, connections: int, seconds: float, slow: int = 0) -> Seen:
    """Load the server for `seconds` and return the measurements."""
    sockets = []
    for _ in range(slow):
        one = socket.create_connection((HOST, port), timeout=10)
        one.sendall(SLOW_HEAD)
        one.setblocking(False)
        sockets.append(one)
    slowly = asyncio.create_task(dawdle(sockets))
    began = time.perf_counter()
    shared = Round(port, request, began + seconds)
    await asyncio.gather(*(call(shared) for _ in range(connections)))
    slowly.cancel()
    for one in sockets:
        one.close()
    return seen(shared.latencies, seconds, failed=shared.failed, held=len(sockets))


def main() -> None:
    """Read the request, load the server, write the measurements."""
    parser = argparse.ArgumentParser(prog="python -m bench.client", description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--slow", type=int, default=0)
    asked = parser.parse_args()
    found = uvloop.run(
        run(asked.port, sys.stdin.buffer.read(), connections=asked.connections, seconds=asked.seconds, slow=asked.slow)
    )
    print(json.dumps(asdict(found)))


if __name__ == "__main__":
    main()
