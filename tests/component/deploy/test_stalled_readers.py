"""A client that stops reading frees its thread: waitress alone would wait forever."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.support.servers.ports import free_port

ROOT = Path(__file__).resolve().parents[3]
#: The real server on an application with endless responses, with a timeout of one second.
PROGRAM = """
import sys
import config.wsgi
from deploy.server import web

def endless(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/octet-stream")])
    def stream():
        try:
            while True:
                yield b"x" * 65536
        finally:
            print("closed", flush=True)
    return stream()

config.wsgi.application = endless
web.SILENT_S = web.LOOK_S = 1
listener = web.listen("127.0.0.1", int(sys.argv[1]))
listener.listen(16)
print("serving", flush=True)
web.serve(listener, 1)
"""


def test_a_reader_that_stalls_is_closed(
    process_environment: Callable[..., dict[str, str]], transactional_db: None
) -> None:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(port)],
        cwd=ROOT,
        env=process_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "serving\n"
        with socket.create_connection(("127.0.0.1", port), timeout=60) as link:
            link.sendall(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert link.recv(100).startswith(b"HTTP/1.1 200")
            # Nothing more is read: the buffers fill, and the streaming thread waits.
            assert select.select([server.stdout], [], [], 120)[0], "the thread still waits"
            assert server.stdout.readline() == "closed\n"
    finally:
        server.kill()
        server.wait()
        if server.stdout is not None:
            server.stdout.close()
