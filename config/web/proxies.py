"""Client address and scheme behind proxies: only EXCHEQUER_TRUSTED_PROXIES is trusted.

The setting names the proxies by address or network (`10.0.0.5, 10.1.0.0/16`), each for one hop: two proxies of one
network, one behind the other, are that network named twice. Otherwise a client from a trusted network could choose its
address. If their addresses change, the setting is their number (`1`): then any peer with a private address counts as
the last of them, so the port must be closed to everybody else. Only this layer reads the headers that proxies add. It
removes them, so that nothing behind it, Django or a view, can trust a client that sends them itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Application = Callable[[dict[str, Any], Any], Iterable[bytes]]

SHAPE = "use addresses and networks such as 10.0.0.5, 10.1.0.0/16, or the number of proxies, such as 1"
MOST_PROXIES = 10
CLAIMS = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_FORWARDED_PORT",
    "HTTP_X_FORWARDED_BY",
    "HTTP_X_FORWARDED_PREFIX",
    "HTTP_X_FORWARDED_SERVER",
    "HTTP_X_FORWARDED_SSL",
    "HTTP_X_REAL_IP",
    "HTTP_FORWARDED",
)


def trusted(text: str) -> int | tuple[Network, ...]:
    """Return the proxies of a setting: their number, or their networks. Raises ValueError that describes the format."""
    if text.strip().isdecimal() and int(text) <= MOST_PROXIES:
        return int(text)
    try:
        return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
    except ValueError as error:
        raise ValueError(f"{error}; {SHAPE}") from None


class TrustedProxies:
    """WSGI middleware: restores requests as the client sent them to the outermost trusted proxy."""

    def __init__(self, application: Application, proxies: int | tuple[Network, ...]) -> None:
        self.application = application
        self.proxies = proxies

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        """Set the client's address and scheme, remove the proxies' headers, and call the application."""
        claims = {name: environ.pop(name, "") for name in CLAIMS}
        chain = [part.strip() for part in claims["HTTP_X_FORWARDED_FOR"].split(",") if part.strip()]
        peer = environ.get("REMOTE_ADDR", "")
        client, passed = self.client(peer, chain)
        if passed:
            environ["REMOTE_ADDR"] = environ["REMOTE_HOST"] = client
            environ["REMOTE_PORT"] = "" if client != peer else environ.get("REMOTE_PORT", "")
            schemes = [part.strip().lower() for part in claims["HTTP_X_FORWARDED_PROTO"].split(",") if part.strip()]
            # Each proxy may add its own; the outermost trusted one knows the client's.
            said = schemes[-passed:][:1]
            if said in (["http"], ["https"]):
                environ["wsgi.url_scheme"] = said[0]
        environ[BEHIND] = bool(passed)
        return self.application(environ, start_response)

    def client(self, peer: str, chain: list[str]) -> tuple[str, int]:
        """Return the client's address, and the number of trusted proxies it passed (0: none, it is the peer itself)."""
        if isinstance(self.proxies, int):
            near = parsed(peer)
            hops = self.proxies if near is not None and not near.is_global else 0
            address = parsed(chain[-min(hops, len(chain))]) if hops and chain else None
            return (str(address) if address else peer), hops
        client, passed, left = parsed(peer), 0, list(self.proxies)
        while client is not None:
            through = next((network for network in left if client in network), None)
            if through is None:
                break
            left.remove(through)
            passed += 1
            before = parsed(chain[-passed]) if passed <= len(chain) else None
            if before is None:
                break
            client = before
        return (str(client) if client else peer), passed


#: Whether a trusted proxy forwarded the request.
BEHIND = "exchequer.behind_proxy"


def parsed(text: str) -> Address | None:
    """Return the address in a part of X-Forwarded-For, without its port; None if there is none."""
    text = text.strip().strip('"')
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
