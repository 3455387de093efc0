"""The web process. It uses the database role `exchequer_app` and never imports torch."""

from collections.abc import Callable, Iterable
from typing import Any

from django.core.wsgi import get_wsgi_application

from config.env import load_once, use_django_settings
from config.web.proxies import TrustedProxies, trusted

use_django_settings()


class Bodiless:
    """Answers HEAD with the head alone: a body would be read as the next answer on the same connection."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self.application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Answer a request."""
        answer = self.application(environ, start_response)
        if environ["REQUEST_METHOD"] != "HEAD":
            return answer
        close = getattr(answer, "close", None)
        if close is not None:
            close()
        return ()


application = Bodiless(TrustedProxies(get_wsgi_application(), trusted(load_once().trusted_proxies)))
