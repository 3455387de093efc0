"""A proxy that terminates TLS, as nginx does: it adds the client's address and scheme and keeps the Host."""

from __future__ import annotations

import datetime
import http.client
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from requests.adapters import HTTPAdapter

#: Source of the proxy's own connections: a loopback address that no test client uses.
ADDRESS = "127.0.0.2"


def certificate(folder: Path) -> Path:
    """Write a self-signed certificate of `localhost` with its key; return the file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=2))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]), False
        )
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    file = folder / "localhost.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
        + made.public_bytes(serialization.Encoding.PEM)
    )
    return file


class _Hop(BaseHTTPRequestHandler):
    server: Proxy

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
        before = headers.pop("X-Forwarded-For", "")
        headers["X-Forwarded-For"] = ", ".join(filter(None, (before, str(self.client_address[0]))))
        headers["X-Forwarded-Proto"] = "https"
        inner = http.client.HTTPConnection("127.0.0.1", self.server.upstream, timeout=60, source_address=(ADDRESS, 0))
        try:
            inner.request(self.command, self.path, body, headers | {"Connection": "close"})
            answer = inner.getresponse()
            content = answer.read()
        finally:
            inner.close()
        self.send_response_only(answer.status, answer.reason)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = _pass_on  # noqa: N815 (names of the base class)

    def log_message(self, format: str, *args: object) -> None:
        """Suppress the log line."""


class Proxy(ThreadingHTTPServer):
    """Serves https://localhost:PORT for the web server on `upstream`."""

    daemon_threads = True

    def __init__(self, upstream: int, file: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Hop)
        self.upstream = upstream
        self.file = file
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(file)
        self.socket: socket.socket = context.wrap_socket(self.socket, server_side=True)

    @property
    def url(self) -> str:
        """Return the public URL."""
        return f"https://localhost:{self.server_port}"


@contextmanager
def proxy(upstream: int, folder: Path) -> Iterator[Proxy]:
    """Serve while the block runs."""
    server = Proxy(upstream, certificate(folder))
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


class _From(HTTPAdapter):
    def __init__(self, address: str) -> None:
        self.address = address
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Connect from the address."""
        super().init_poolmanager(*args, source_address=(self.address, 0), **kwargs)  # type: ignore[no-untyped-call]


def visitor(address: str, file: Path) -> requests.Session:
    """Return a browser's session at a loopback address that trusts the certificate."""
    session = requests.Session()
    session.verify = str(file)
    session.trust_env = False
    for scheme in ("https://", "http://"):
        session.mount(scheme, _From(address))
    return session
