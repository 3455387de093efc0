"""uvicorn in one process, as the serving node and the usage server run in it, and their command line."""

from __future__ import annotations

import argparse
import os
import socket
from collections.abc import Callable
from typing import Any

from deploy import node_file
from deploy.server.web import listen

KEEP_ALIVE_S = 75
BACKLOG = 1024


def serve(make: Callable[[], Any], listener: socket.socket, *, grace_s: int) -> None:
    """Serve requests from `listener` in this process until SIGTERM, by the application that `make` returns.

    Django is set up before, and the process refuses to start with a wrong role or master key. `grace_s`: for so long
    running requests may end, in seconds.
    """
    import django

    django.setup()
    from tenants.checks import refuse_unsafe_role, refuse_wrong_master_key

    refuse_unsafe_role(one_tenant=True)
    refuse_wrong_master_key()
    import uvicorn

    from deploy.server.connection_limits import TimeoutProtocol

    config = uvicorn.Config(
        make(),
        loop="uvloop",
        http=TimeoutProtocol,
        ws="none",
        lifespan="on",
        interface="asgi3",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=grace_s,
    )
    listener.listen(BACKLOG)
    uvicorn.Server(config).run(sockets=[listener])


def bound(
    name: str, description: str | None, port: int, arguments: list[str] | None, *, node: bool = False
) -> socket.socket:
    """Parse the command line of the server `name`; return the socket that it names, or one bound as it says.

    `node`: it takes a file of credentials.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m deploy.server.{name}",
        description=description,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=port)
    parser.add_argument("--fd", type=int, help="a bound socket that was inherited")
    if node:
        node_file.option(parser)
    options = parser.parse_args(arguments)
    if node:
        node_file.take(options)
    os.environ.setdefault("EXCHEQUER_DB_ROLE", "app")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    return socket.socket(fileno=options.fd) if options.fd is not None else listen(options.host, options.port)
