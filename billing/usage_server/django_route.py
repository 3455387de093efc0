"""Hand a request to Django: everything that is not a plain delivery of usage is answered by the same view as on the web port."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any, TypeVar

from billing.usage_server.calls import Answer, Scope
from billing.usage_server.threads import Threads
from tenants.errors import Unavailable

T = TypeVar("T")
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
THREADS, MOST = 2, 64


class DjangoRoute:
    """The WSGI application in threads of its own, with a limit of requests that wait for them."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._threads = Threads(THREADS, "usage-django")
        self._asked = 0

    async def answer(self, scope: Scope, body: bytes) -> Answer:
        """Return Django's answer. Raises Unavailable if too many wait."""
        environ = environ_of(scope, body)
        return await self.run(lambda: self._ask(environ))

    async def run(self, call: Callable[[], T]) -> T:
        """Return what a call returns, made in one of the threads. Raises Unavailable if too many wait."""
        if self._asked >= MOST:
            raise Unavailable(retry_after=1)
        self._asked += 1
        try:
            return await self._threads.run(call)
        finally:
            self._asked -= 1

    def close(self) -> None:
        """End the threads after their calls."""
        self._threads.close()

    def _ask(self, environ: dict[str, Any]) -> Answer:
        begun: list[tuple[str, list[tuple[str, str]]]] = []
        parts = self._application(environ, lambda status, headers, exc_info=None: begun.append((status, headers)))
        try:
            body = b"".join(parts)
        finally:
            close = getattr(parts, "close", None)
            if close is not None:
                close()
        status, headers = begun[-1]
        kept = tuple(
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in headers
            if name.lower() != "content-length"
        )
        return Answer(int(status.split(" ", 1)[0]), kept, body)


def environ_of(scope: Scope, body: bytes = b"") -> dict[str, Any]:
    """Return a request as a WSGI application reads it."""
    server, client = scope.get("server") or ("127.0.0.1", 0), scope.get("client") or ("", 0)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": "",
        "PATH_INFO": scope["path"].encode().decode("latin-1"),
        "QUERY_STRING": scope["query_string"].decode("latin-1"),
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "SERVER_PROTOCOL": f"HTTP/{scope['http_version']}",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": BytesIO(body),
        "wsgi.errors": BytesIO(),
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    for name, value in scope["headers"]:
        if b"_" in name:  # it would be mistaken for one with a dash
            continue
        key = name.decode("latin-1").upper().replace("-", "_")
        if key != "CONTENT_TYPE":
            key = f"HTTP_{key}"
        text = value.decode("latin-1")
        separator = "; " if key == "HTTP_COOKIE" else ", "
        environ[key] = f"{environ[key]}{separator}{text}" if key in environ else text
    for name in ("HTTP_CONTENT_LENGTH", "HTTP_TRANSFER_ENCODING", "HTTP_EXPECT", "HTTP_PROXY"):
        environ.pop(name, None)
    environ["CONTENT_LENGTH"] = str(len(body))
    return environ
