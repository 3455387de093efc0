"""The usage server: uvicorn in one process, on a socket bound by the caller or by itself.

    python -m deploy.server.usage --port 8003     binds the socket itself (a container)
    python -m deploy.server.usage --fd 3          serves a socket bound by the caller (`make up`)

One process, because requests of one key that wait in it are stored together. SIGTERM ends it after the running requests.
"""

from __future__ import annotations

import argparse
import os
import socket
from typing import Any

from deploy.server.web import listen

GRACE_S = 5
KEEP_ALIVE_S = 75
BACKLOG = 1024


def who_asks(environ: dict[str, Any]) -> str | None:
    """Return the address that a request came from, behind trusted proxies; None if it names a host that is not ours."""
    from django.conf import settings
    from django.core.exceptions import DisallowedHost
    from django.core.handlers.wsgi import WSGIRequest

    from config import hosts
    from config.proxies import TrustedProxies, trusted

    seen: dict[str, Any] = {}

    def see(environ: dict[str, Any], start_response: Any) -> tuple[bytes, ...]:
        seen.update(environ)
        return ()

    TrustedProxies(see, trusted(settings.EXCHEQUER.trusted_proxies))(environ, None)
    request = WSGIRequest(seen)
    public = settings.EXCHEQUER.own_public_url
    try:
        request.get_host()
        if public:
            hosts.check(request, public)
    except DisallowedHost:
        return None
    return str(seen["REMOTE_ADDR"])


def application() -> Any:
    """Return the ASGI application, with Django behind it; call it after `django.setup`."""
    from billing.usage_server.app import App, Surroundings
    from config.monitoring import http_metrics
    from config.wsgi import application as django

    app = App(Surroundings(django, who_asks, http_metrics.note))
    http_metrics.families.extend(one for one in app.measures if one not in http_metrics.families)
    return app


def serve(listener: socket.socket) -> None:
    """Serve requests from `listener` in this process until SIGTERM."""
    import django

    django.setup()
    from tenants.checks import refuse_unsafe_role, refuse_wrong_master_key

    refuse_unsafe_role(one_tenant=True)
    refuse_wrong_master_key()
    import uvicorn

    from deploy.server.connection_limits import TimeoutProtocol

    config = uvicorn.Config(
        application(),
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
        prog="python -m deploy.server.usage", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8003)
    parser.add_argument("--fd", type=int, help="a bound socket that was inherited")
    options = parser.parse_args(arguments)
    os.environ.setdefault("EXCHEQUER_DB_ROLE", "app")
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    listener = socket.socket(fileno=options.fd) if options.fd is not None else listen(options.host, options.port)
    os.environ["EXCHEQUER_BOUND_TO"] = listener.getsockname()[0]
    serve(listener)


if __name__ == "__main__":
    main()
