"""Which URLs and addresses the fetcher may reach. Pure: no lookup and no connection happens here.

A URL is parsed once, strictly; what two programs could read differently is refused. The parts that come out are what
the connection uses, so nothing is parsed a second time.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

import idna

from tenants.outbound.allowed import HTTPS_PORT, Address, Allowed

MOST_URL_CHARACTERS = 2048
_URL = re.compile(
    r"https://(?P<host>\[[0-9a-f:.]+\]|[^\s/?#@\[\]:\\%]+)(?::(?P<port>[0-9]{1,5}))?(?P<target>(?:[/?][!-~]*)?)",
    re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
#: A last label that inet_aton would read as a number makes the whole host an address in some programs.
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")

#: IANA's special-purpose registries, and what else never leads to a public server. The standard library knows most,
#: but not the same in every version.
REFUSED_V4 = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24",
        "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
#: Of IPv6 only global unicast is reached, without what embeds an IPv4 address (Teredo, 6to4) or documents.
GLOBAL_V6 = ipaddress.ip_network("2000::/3")
REFUSED_V6 = tuple(
    ipaddress.ip_network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")
)


class Refused(Exception):
    """The guard refuses; the message says why, without any address that a name leads to."""


@dataclass(frozen=True)
class Destination:
    """A URL in parts: the host in lower case (A-labels, or an address without brackets), and the target to ask for."""

    host: str
    port: int
    target: str
    is_address: bool

    @property
    def authority(self) -> str:
        """Return what the header `Host` says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"


def parse(url: str, allowed: Allowed) -> Destination:
    """Return the parts of a URL; raise `Refused` for what may not be asked, whatever its host leads to."""
    if len(url) > MOST_URL_CHARACTERS:
        raise Refused(f"the URL is longer than {MOST_URL_CHARACTERS} characters")
    found = _URL.fullmatch(url)
    if found is None:
        raise Refused(_why(url))
    host, is_address = _host(found["host"])
    port = int(found["port"] or HTTPS_PORT)
    if not allowed.target(host, port):
        if port not in allowed.ports:
            raise Refused(f"port {port} is not permitted: use {HTTPS_PORT}")
        if not is_address and "." not in host:
            raise Refused("the host has no domain: write its full name")
    target = found["target"]
    return Destination(host, port, target if target.startswith("/") else f"/{target}", is_address)


def check(destination: Destination, addresses: list[str], allowed: Allowed) -> None:
    """Check every address that the host leads to; raise `Refused` if one of them may not be reached."""
    if allowed.target(destination.host, destination.port):
        return
    for text in addresses:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:  # as a zone id in it
            raise Refused("the host leads to an address that is not permitted") from None
        if not (public(address) or allowed.address(address)):
            raise Refused("the host leads to an address that is private, local or reserved")


def public(address: Address) -> bool:
    """Return whether the address is one of the public internet; addresses that embed others are not."""
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not any(address in network for network in REFUSED_V4)
    if address.scope_id or address not in GLOBAL_V6:
        return False
    return address.is_global and not any(address in network for network in REFUSED_V6)


def _host(written: str) -> tuple[str, bool]:
    """Return the host in the one form that is used from here on, and whether it is an address."""
    if written.startswith("["):
        try:
            return str(ipaddress.IPv6Address(written[1:-1])), True
        except ValueError:
            raise Refused("the host is not an address") from None
    host = written.lower()
    if not host.isascii():
        try:
            host = idna.encode(written, uts46=True).decode()
        except idna.IDNAError:
            raise Refused("the host is not a valid name") from None
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        try:
            return str(ipaddress.IPv4Address(host)), True
        except ValueError:
            raise Refused("the host is not an address: write four numbers such as 192.0.2.1") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Refused("the host is not a valid name")
    return host, False


def _why(url: str) -> str:
    if not url.lower().startswith("https://"):
        return "the URL must begin with https://"
    authority = re.split(r"[/?#\\]", url[8:], maxsplit=1)[0]
    if "@" in authority:
        return "the URL must not contain a user name or a password"
    if "#" in url:
        return "the URL must not contain a fragment (#)"
    return "the URL is not valid: write it as https://host/path, with anything unusual percent-encoded"
