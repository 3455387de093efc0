"""Requests to one WSGI application in a process of its own, one after the other, without a server.

    python -m bench.wsgi_loop shipped|plain

Prints "ready", then for each line `NUMBER HEADER VALUE` on its input the seconds that so many requests took.
"""

from __future__ import annotations

import io
import sys
import time
from typing import Any

PATH = "/api/v1/me/"


def main() -> None:
    """Serve the loop until the input ends."""
    if sys.argv[1] == "plain":
        from bench import plain_drf

        application = plain_drf.application()
        print("ready", plain_drf.token(), flush=True)
    else:
        from config.wsgi import application

        print("ready", flush=True)
    for line in sys.stdin:
        number, name, value = line.rstrip("\n").split(" ", 2)
        header = f"HTTP_{name.upper()}"
        ask(application, header, value)
        begun = time.perf_counter()
        for _ in range(int(number)):
            ask(application, header, value)
        print(time.perf_counter() - begun, flush=True)


def ask(application: Any, header: str, value: str) -> None:
    """Send one request and read its answer; raises RuntimeError unless it is a 200."""
    statuses: list[str] = []
    environ = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": PATH,
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "REMOTE_ADDR": "127.0.0.1",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_ACCEPT": "application/json",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": "http",
        "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": False,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        header: value,
    }
    answer = application(environ, lambda status, headers, error=None: statuses.append(status))
    body = b"".join(answer)
    if hasattr(answer, "close"):
        answer.close()
    if not statuses[0].startswith("200"):
        raise RuntimeError(f"{statuses[0]}: {body[:300]!r}")


if __name__ == "__main__":
    main()
