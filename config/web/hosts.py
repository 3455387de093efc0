"""Accepted `Host` headers: the public address with its port, or this machine's own; any other is a 400.

Django's ALLOWED_HOSTS ignores ports. Without EXCHEQUER_PUBLIC_URL it alone decides, because the port of a container or
a tunnel is then unknown.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit

from django.conf import settings
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponse
from django.http.request import split_domain_port

USUAL = {"http": "80", "https": "443"}
LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
#: Called by probes that know only an address; their responses depend on no host.
PROBES = frozenset({"/healthz", "/readyz", "/metrics"})


def of(url: str) -> tuple[str, str]:
    """Return host and port of a URL, with the scheme's default port; an IPv6 host in brackets."""
    parts = urlsplit(url)
    host = (parts.hostname or "").lower()
    return (f"[{host}]" if ":" in host else host), str(parts.port or USUAL[parts.scheme])


def origin(url: str) -> str:
    """Return the origin of a URL as browsers send it."""
    host, port = of(url)
    scheme = urlsplit(url).scheme
    return f"{scheme}://{host}" if port == USUAL[scheme] else f"{scheme}://{host}:{port}"


class HostMiddleware:
    """Refuses a Host with a port that is neither the public address's nor our own."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Respond, or raise `DisallowedHost`, which Django turns into a 400."""
        public = settings.EXCHEQUER.own_public_url
        if public and request.path_info not in PROBES:
            check(request, public)
        return self.get_response(request)


def check(request: HttpRequest, public: str) -> None:
    """Raise `DisallowedHost` unless the request names the public address, or a host of ours with our port."""
    host, port = split_domain_port(request.get_host())
    found = (host, port or USUAL[request.scheme or "http"])
    if found == of(public) or found[1] == request.META.get("SERVER_PORT"):
        return
    if host in LOOPBACK or found[1] != of(public)[1]:
        raise DisallowedHost(f"Invalid HTTP_HOST header: {request.get_host()!r} is not the public address.")
