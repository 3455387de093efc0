"""The web server: waitress in several processes that share one listening socket.

    python -m deploy.server.web --port 8000            binds the socket itself (a container)
    python -m deploy.server.web --fd 3 --processes 2   serves a socket bound by the caller (`make up`)

With --nodes PATH one process more answers nodes of this machine at a unix socket. The application is imported once and then forked. A process that dies is forked again; SIGTERM ends all of them after
their running requests.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from types import FrameType
from typing import Any

from deploy import procfs
from deploy.server import node_socket

#: The default of 100 is a trap: above it waitress accepts no new connection, so a hundred slow clients block the
#: server.
CONNECTION_LIMIT = 1000
THREADS = 8
#: The form around an uploaded file, beyond the file's own limit.
FORM_BYTES = 14 * 1024 * 1024
DRAIN_S = 5.0
#: An idle connection is closed after this many seconds; checked at this interval.
SILENT_S, LOOK_S = 60, 30
#: Minimum bytes per second of a request being received, between two checks. 256 kbit/s.
LEAST_RATE = 32 * 1024
#: Read by prometheus_client when it is imported.
COUNTS = "PROMETHEUS_MULTIPROC_DIR"


def listen(host: str, port: int) -> socket.socket:
    """Bind the listening socket; raises OSError when the port is in use."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


def close_stalled(server: Any) -> None:
    """Make a server close connections that do not read their response, and refuse requests below the minimum speed.

    Each of the first holds a thread, and each of the second disk space, while waitress alone would wait forever.
    """
    usual = server.maintenance

    def maintenance(now: float) -> None:
        usual(now)
        for channel in list(server.active_channels.values()):
            if channel.total_outbufs_len and channel.last_activity < now - server.adj.channel_timeout:
                channel.handle_close()
            else:
                channel.keep_pace(LEAST_RATE * LOOK_S)

    server.maintenance = maintenance


def serve(listener: socket.socket, processes: int) -> None:
    """Serve requests from `listener` in this process, one of `processes`, until SIGTERM; from a unix socket, those of nodes alone."""
    from django.conf import settings
    from waitress.server import create_server

    from config.web.proxies import TrustedProxies, trusted
    from config.wsgi import application
    from deploy.server.request_limits import Channel
    from deploy.server.upload_limits import ANYBODY, UPLOADS

    largest = settings.EXCHEQUER.max_upload_mb * 1024 * 1024 + FORM_BYTES
    server = create_server(
        node_socket.for_nodes(application) if listener.family == socket.AF_UNIX else application,
        sockets=[listener],
        threads=THREADS,
        connection_limit=CONNECTION_LIMIT,
        asyncore_use_poll=True,
        max_request_body_size=largest,
        channel_timeout=SILENT_S,
        cleanup_interval=LOOK_S,
        clear_untrusted_proxy_headers=False,  # only config.web.proxies decides which of them to trust
        ident=None,
    )

    close_stalled(server)
    server.channel_class = Channel
    Channel.proxies = TrustedProxies(application, trusted(settings.EXCHEQUER.trusted_proxies))
    UPLOADS.least = 2 * largest  # one file fits into a sender's half, for any number of processes
    for budget in (UPLOADS, ANYBODY):
        budget.share(processes)

    def leave(number: int, frame: FrameType | None) -> None:
        raise SystemExit(0)

    signal.signal(signal.SIGTERM, leave)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    server.run()  # returns after the running requests, at most five seconds after the signal


class Server:
    """The parent: forks the serving processes, replaces dead ones, ends them together."""

    def __init__(self, listener: socket.socket, processes: int, nodes: socket.socket | None = None) -> None:
        self.places = [listener] * processes + ([nodes] if nodes else [])
        self.children: dict[int, tuple[socket.socket, float]] = {}
        self.stopping = False

    def run(self) -> None:
        """Serve until SIGTERM or SIGINT."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        while not self.stopping:
            for place in self._vacant():
                self._fork(place)
            self._reap()
            time.sleep(0.1)
        for pid in self.children:
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + DRAIN_S + 1
        while self.children and time.monotonic() < deadline:
            self._reap()
            time.sleep(0.05)
        for pid in self.children:
            os.kill(pid, signal.SIGKILL)

    def _vacant(self) -> list[socket.socket]:
        vacant = list(self.places)
        for place, _ in self.children.values():
            vacant.remove(place)
        return vacant

    def _fork(self, place: socket.socket) -> None:
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            procfs.die_with_parent()
            if os.getppid() != parent:
                os._exit(1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            try:
                serve(place, len(self.places))
            finally:
                sys.stderr.flush()
                os._exit(0)
        self.children[pid] = (place, time.monotonic())

    def _reap(self) -> None:
        while self.children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            lived = time.monotonic() - self.children.pop(pid)[1]
            if not self.stopping:
                print(f"web process {pid} ended with status {status}; starting another", file=sys.stderr, flush=True)
                time.sleep(0 if lived > 5 else 1)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line, import the application once and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.server.web", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--fd", type=int, help="a bound socket that was inherited")
    parser.add_argument("--processes", type=int, default=min(4, os.cpu_count() or 1))
    parser.add_argument("--nodes", type=Path, metavar="PATH", help="a unix socket for nodes of this machine")
    options = parser.parse_args(arguments)
    os.environ.setdefault("EXCHEQUER_DB_ROLE", "app")
    listener = socket.socket(fileno=options.fd) if options.fd is not None else listen(options.host, options.port)
    nodes = node_socket.listen(options.nodes) if options.nodes else None
    os.environ["EXCHEQUER_BOUND_TO"] = listener.getsockname()[0]
    _count_in(os.environ.setdefault(COUNTS, str(Path(tempfile.gettempdir()) / f"exchequer-web-{os.getpid()}")))

    from django.db import connections

    import config.wsgi  # noqa: F401 (once for all forks)
    from tenants.checks import refuse_unsafe_role, refuse_wrong_master_key

    refuse_unsafe_role(one_tenant=True)
    refuse_wrong_master_key()
    connections.close_all()
    Server(listener, options.processes, nodes).run()


def _count_in(folder: str) -> None:
    """Create the folder in which each process counts its responses; counts of an earlier server are removed."""
    Path(folder).mkdir(parents=True, mode=0o700, exist_ok=True)
    for left in Path(folder).glob("*.db"):
        left.unlink()


if __name__ == "__main__":
    main()
