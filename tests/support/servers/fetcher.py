"""The fetcher as a real process, and a TLS server on loopback that it is allowed to ask."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from deploy.local.certificates import Identity, issue
from tenants.outbound import client
from tests.support.waiting import wait_until

ROOT = Path(__file__).resolve().parents[3]

#: Stands in for the resolver of the machine: names and their answers come from a file, each lookup is written down.
RESOLVER = """
import json, os, socket
_folder, _real, _asked = os.path.dirname(__file__), socket.getaddrinfo, {}
_log = open(_folder + "/asked", "a", buffering=1)  # the confined process opens no file for writing
def _tried(what):
    try:
        what()
    except OSError as error:
        return type(error).__name__
    return "done"
def _probe(secret, unix):
    # Inside the process: what somebody who took it over would try.
    def connect():
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(unix)
    return [
        _tried(lambda: open(secret).read()),
        _tried(connect),
        _tried(lambda: os.execv("/bin/true", ["true"])),
        _tried(lambda: os.kill(os.getppid(), 0)),
        _tried(lambda: open(_folder + "/written", "w")),
    ]
def getaddrinfo(host, port, *args, **kwargs):
    _log.write(host + "\\n")
    if host == "probe.example":
        with open(_folder + "/names") as names:
            given = json.load(names)["probe"]
        _log.write("probe: " + json.dumps(_probe(*given)) + "\\n")
        return []
    answers = json.load(open(_folder + "/names")).get(host)
    if answers is None:
        return _real(host, port, *args, **kwargs)
    number = _asked[host] = _asked.get(host, -1) + 1
    found = answers[min(number, len(answers) - 1)]
    return [row for address in found for row in _real(address, port, *args, **kwargs)]
socket.getaddrinfo = getaddrinfo
"""


@dataclass
class RunningFetcher:
    """A fetcher's process; `names` maps a host to the answers of its lookups, one after the other, the last for ever."""

    folder: Path
    process: subprocess.Popen[bytes]

    @property
    def socket(self) -> Path:
        """Return where it answers."""
        return self.folder / "f.sock"

    @property
    def log(self) -> str:
        """Return what the process printed."""
        return (self.folder / "log").read_text()

    def resolve(self, names: dict[str, list[list[str]]]) -> None:
        """Set the answers of the resolver."""
        (self.folder / "names").write_text(json.dumps(names))

    def probe(self, secret: Path, unix: Path) -> list[str]:
        """Return what came of reading a file, of a unix socket, a program, a signal and a new file inside the process."""
        (self.folder / "names").write_text(json.dumps({"probe": [str(secret), str(unix)]}))
        with suppress(client.OutboundError):
            client.check("https://probe.example/")
        (line,) = [text for text in (self.folder / "asked").read_text().splitlines() if text.startswith("probe: ")]
        return list(json.loads(line.removeprefix("probe: ")))

    def asked(self, host: str) -> int:
        """Return how often a host was looked up."""
        file = self.folder / "asked"
        return file.read_text().split("\n").count(host) if file.exists() else 0


@contextmanager
def fetcher(allow: str = "", authority: bytes = b"") -> Iterator[RunningFetcher]:
    """Run a fetcher with `EXCHEQUER_OUTBOUND_ALLOW=allow` that trusts this authority (PEM) too."""
    with tempfile.TemporaryDirectory(prefix="exqf-", dir="/tmp") as name:
        folder = Path(name)
        (folder / "sitecustomize.py").write_text(RESOLVER)
        (folder / "names").write_text("{}")
        environment = {"PATH": os.defpath, "PYTHONPATH": name}
        environment |= {"EXCHEQUER_OUTBOUND_ALLOW": allow} if allow else {}
        if authority:
            (folder / "ca.pem").write_bytes(authority)
            environment["EXCHEQUER_OUTBOUND_CA"] = str(folder / "ca.pem")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "deploy.server.fetcher", "--socket", str(folder / "f.sock")],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=log,
            )
        running = RunningFetcher(folder, process)
        try:
            wait_until(lambda: running.socket.exists() or process.poll() is not None, "the fetcher listens")
            assert process.poll() is None, running.log
            yield running
        finally:
            process.terminate()
            process.wait(10)


@dataclass
class Received:
    """One request as it arrived."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)


class Receiver(ThreadingHTTPServer):
    """An HTTPS server that keeps what it receives; `answer` decides what each request gets.

    `answer(handler, request)` writes the answer itself, or returns a status.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, identity: Identity) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[Received] = []
        self.answer: Callable[[BaseHTTPRequestHandler, Received], int | None] = lambda handler, request: 200
        self.gone = threading.Event()
        self.authority = identity.authority
        with tempfile.NamedTemporaryFile() as file:
            file.write(identity.certificate + identity.key)
            file.flush()
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(file.name)
        self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def port(self) -> int:
        """Return its port."""
        return int(self.server_address[1])

    @property
    def url(self) -> str:
        """Return an address of it that its certificate names."""
        return f"https://localhost:{self.port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore a client that hangs up."""


class _Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def _take(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request = Received(self.command, self.path, {key.lower(): value for key, value in self.headers.items()}, body)
        self.server.received.append(request)
        status = self.server.answer(self, request)
        if status is not None:
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

    do_GET = do_POST = do_PUT = _take  # noqa: N815 (the names that the base class calls)

    def log_message(self, format: str, *args: Any) -> None:
        """Print nothing."""


@contextmanager
def receiver() -> Iterator[Receiver]:
    """Serve while the block runs, with a certificate of its own authority for `localhost` and 127.0.0.1."""
    server = Receiver(issue("receiver"))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.gone.set()
        server.shutdown()
        server.server_close()
        thread.join(5)
