"""The usage server: uvicorn in one process, on a socket bound by the caller or by itself.

    python -m deploy.server.usage --port 8003     binds the socket itself (a container)
    python -m deploy.server.usage --fd 3          serves a socket bound by the caller (`make up`)

One process, because requests of one key that wait in it are stored together. SIGTERM ends it after the running requests.
"""

from __future__ import annotations

import os
from typing import Any

from deploy.server import asgi

GRACE_S = 5


def who_asks(environ: dict[str, Any]) -> str | None:
    """Return the address that a request came from, behind trusted proxies; None if it names a host that is not ours."""
    from django.conf import settings
    from django.core.exceptions import DisallowedHost
    from django.core.handlers.wsgi import WSGIRequest

    from config.web import hosts
    from config.web.proxies import TrustedProxies, trusted

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


def main(arguments: list[str] | None = None) -> None:
    """Parse the command line and serve."""
    listener = asgi.bound("usage", __doc__, 8003, arguments)
    os.environ["EXCHEQUER_BOUND_TO"] = listener.getsockname()[0]
    asgi.serve(application, listener, grace_s=GRACE_S)


if __name__ == "__main__":
    main()
