"""A unix socket at which nodes of this machine ask for what their work needs, and nothing else answers.

A container cannot show that plain http stays on its machine; a socket in a shared volume never leaves it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

Application = Callable[[dict[str, Any], Any], Iterable[bytes]]
PREFIX = "/node/v1/"


def listen(path: Path) -> socket.socket:
    """Bind the socket, in place of one that an earlier process left. Raises OSError."""
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    try:
        listener.bind(str(path))
        path.chmod(0o660)
    except OSError:
        listener.close()
        raise
    return listener


def for_nodes(application: Application) -> Application:
    """Return the application as nodes see it: their own addresses, under the name of this machine."""

    def answer(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if not environ.get("PATH_INFO", "").startswith(PREFIX):
            start_response("404 Not Found", [("Content-Length", "0")])
            return [b""]
        # The name and port of the machine itself: HostMiddleware compares them, and a socket has none.
        here = {"HTTP_HOST": "localhost", "SERVER_NAME": "localhost", "SERVER_PORT": "80", "REMOTE_ADDR": "127.0.0.1"}
        return application(environ | here, start_response)

    return answer
