"""Requests with a secret of this machine's node: straight to the address that was given, over TLS or a unix socket.

No redirect is followed and no proxy used: the secret belongs to that address alone. It needs no settings.
"""

from __future__ import annotations

import http.client
import socket
import urllib.request
from functools import cache, partial
from typing import Any
from urllib.parse import urlsplit


def socket_of(base: str) -> str:
    """Return the path of the unix socket that an address such as `unix:/run/platform/nodes.sock` names; empty for others."""
    parts = urlsplit(base)
    return parts.path if parts.scheme == "unix" and not parts.netloc and parts.path.startswith("/") else ""


def url(base: str, path: str) -> str:
    """Return what to ask an opener of `base` for."""
    return f"{'http://localhost' if socket_of(base) else base.rstrip('/')}{path}"


@cache
def opener(base: str) -> urllib.request.OpenerDirector:
    """Return what opens the addresses that `url` returns for `base`."""
    place = socket_of(base)
    over = [_OverSocket(place)] if place else []
    return urllib.request.build_opener(_Stay, urllib.request.ProxyHandler({}), *over)


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object, **kwargs: object) -> None:
        """Refuse to go elsewhere."""


class _OverSocket(urllib.request.HTTPHandler):
    def __init__(self, place: str) -> None:
        super().__init__()
        self.place = place

    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        """Send the request over the socket."""
        return self.do_open(partial(_Connection, self.place), req)


class _Connection(http.client.HTTPConnection):
    def __init__(self, place: str, host: str, **more: Any) -> None:
        super().__init__(host, **more)
        self.place = place

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.place)
