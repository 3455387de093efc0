"""The serving node: uvicorn in one process, on a socket bound by the caller or by itself.

    python -m deploy.server.serving --port 8001     binds the socket itself (a container)
    python -m deploy.server.serving --fd 3          serves a socket bound by the caller (`make up`)

It is a node: it starts with a secret of its own, and asks the platform for the files of the models in its slots. --credentials names
the file that `deploy.server.admit --serving` wrote. SIGTERM ends it after the running requests, with all predictions recorded.
"""

from __future__ import annotations

from typing import Any

from deploy.server import asgi

GRACE_S = 2


def application() -> Any:
    """Return the ASGI application of the node; call it after `django.setup`."""
    from django.conf import settings

    from models_app.serving.database import Database
    from models_app.serving.gateway.app import App
    from models_app.serving.node import Node

    env = settings.EXCHEQUER
    return App(
        Node(
            Database(f"serving.{env.effective_node_id}", env.serving_slots),
            env.home.absolute() / "serving" / env.effective_node_id,
            secret=env.serving_key,
            heartbeat_s=env.heartbeat_s,
        )
    )


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and serve."""
    asgi.serve(application, asgi.bound("serving", __doc__, 8001, arguments, node=True), grace_s=GRACE_S)


if __name__ == "__main__":
    main()
