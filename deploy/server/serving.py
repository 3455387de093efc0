"""The serving node: uvicorn in one process, on a socket bound by the caller or by itself.

    python -m deploy.server.serving --port 8001     binds the socket itself (a container)
    python -m deploy.server.serving --fd 3          serves a socket bound by the caller (`make up`)

SIGTERM ends it after the running requests, with all predictions recorded.
"""

from __future__ import annotations

import argparse
import os
import socket

from deploy.server.web import listen

GRACE_S = 2
KEEP_ALIVE_S = 75
BACKLOG = 1024


def serve(listener: socket.socket) -> None:
    """Serve requests from `listener` in this process until SIGTERM."""
    import django

    django.setup()
    from tenants.checks import refuse_unsafe_role, refuse_wrong_master_key

    refuse_unsafe_role(one_tenant=True)
    refuse_wrong_master_key()
    import uvicorn
    from django.conf import settings

    from deploy.server.connection_limits import TimeoutProtocol
    from models_app.serving.database import Database
    from models_app.serving.gateway.app import App
    from models_app.serving.node import Node

    env = settings.EXCHEQUER
    name = f"serving.{env.effective_node_id}"
    node = Node(
        Database(name, env.serving_slots),
        env.home.absolute() / "serving" / env.effective_node_id,
        secret=settings.SECRET_KEY,
        heartbeat_s=env.heartbeat_s,
    )
    config = uvicorn.Config(
        App(node),
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
        timeout_graceful_shutdown=GRACE_S,
    )
    listener.listen(BACKLOG)
    uvicorn.Server(config).run(sockets=[listener])


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and serve."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.server.serving",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8001)
    parser.add_argument("--fd", type=int, help="a bound socket that was inherited")
    options = parser.parse_args(arguments)
    os.environ.setdefault("EXCHEQUER_DB_ROLE", "app")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    listener = socket.socket(fileno=options.fd) if options.fd is not None else listen(options.host, options.port)
    serve(listener)


if __name__ == "__main__":
    main()
