"""The usage server for tests: in threads of this process, on a loopback port, or as a process that a test may kill."""

from __future__ import annotations

import asyncio
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import psycopg
import uvicorn

from billing.usage_server.app import App
from deploy.server.connection_limits import TimeoutProtocol
from deploy.server.usage import application
from tests.support.waiting import PATIENCE_S, wait_until

ROOT = Path(__file__).resolve().parents[3]
PATH = "/api/v1/events/"
BATCH = "application/cloudevents-batch+json"


@dataclass(frozen=True)
class Answer:
    """A response: status, headers by lower-case name, and its JSON."""

    status: int
    headers: dict[str, str]
    body: Any


def ask(port: int, method: str, path: str, body: bytes = b"", **headers: str) -> Answer:
    """Send one request on a connection of its own; underscores in names of headers are dashes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE_S)
    try:
        connection.request(
            method, path, body or None, {name.replace("_", "-"): value for name, value in headers.items()}
        )
        got = connection.getresponse()
        text = got.read()
        kind = got.headers.get("content-type", "")
        read = json.loads(text) if "json" in kind and text else text.decode()
        return Answer(got.status, {name.lower(): value for name, value in got.headers.items()}, read)
    finally:
        connection.close()


class UsageServer:
    """A usage server in this process, behind a real uvicorn."""

    def __init__(self) -> None:
        self.app: App = application()
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(256)
        self.port: int = self._listener.getsockname()[1]
        config = uvicorn.Config(
            self.app, http=TimeoutProtocol, loop="asyncio", lifespan="on", access_log=False, log_config=None,
            server_header=False, timeout_graceful_shutdown=2,
        )  # fmt: skip
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        wait_until(lambda: self._server.started, "it serves")
        self._pool = ThreadPoolExecutor(16)

    def _run(self) -> None:
        asyncio.run(self._server.serve(sockets=[self._listener]))

    @property
    def waiting(self) -> int:
        """Return the number of requests that wait to be stored or are being stored."""
        return self.app._lanes.waiting

    def send(self, key: str, events: Any, **headers: str) -> Answer:
        """Send events, and wait for the answer."""
        body = events if isinstance(events, bytes) else json.dumps(events).encode()
        more = {"Authorization": f"Bearer {key}", "Content_Type": BATCH, **headers}
        return ask(self.port, "POST", PATH, body, **more)

    def begin(self, key: str, events: Any, **headers: str) -> Future[Answer]:
        """Send events from another thread; return when they wait in the server."""
        before = self.waiting
        call = self._pool.submit(self.send, key, events, **headers)
        wait_until(lambda: self.waiting > before or call.done(), "the request arrives")
        return call

    def stop(self) -> None:
        """Stop as SIGTERM does."""
        self._server.should_exit = True
        self._thread.join(60)
        assert not self._thread.is_alive()
        self._listener.close()
        self._pool.shutdown()


@contextmanager
def held_up(superuser: psycopg.Connection, day: date) -> Iterator[None]:
    """Keep every sender's day locked meanwhile, so that what is being stored waits for it."""
    with superuser.transaction():
        superuser.execute("SELECT FROM billing_senderday WHERE day = %s FOR UPDATE", [day])
        yield


class UsageProcess:
    """A usage server as a process, on a socket that outlives it."""

    def __init__(self, environment: dict[str, str], log: Path) -> None:
        self._environment, self._log = environment, log
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(256)
        self.port: int = self._listener.getsockname()[1]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; requests wait in the socket until it is ready."""
        file = self._listener.fileno()
        command = [sys.executable, "-m", "deploy.server.usage", "--fd", str(file)]
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                pass_fds=(file,),
            )  # fmt: skip

    def end(self, number: int) -> int:
        """Send it a signal; return its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(60)

    def close(self) -> None:
        """Kill it if it runs, and close the socket."""
        if self._process is not None and self._process.poll() is None:
            self.end(signal.SIGKILL)
        self._listener.close()
