"""Exceptions from the guard, as an installation lists them in `EXCHEQUER_OUTBOUND_ALLOW`."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

HTTPS_PORT = 443
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True)
class Allowed:
    """What an installation permits beyond public addresses on port 443.

    `targets` are hosts with a port, whose addresses are not checked. `networks` are permitted addresses. `ports` are
    permitted for every host, whose addresses are checked as always.
    """

    targets: frozenset[tuple[str, int]] = frozenset()
    networks: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset({HTTPS_PORT})

    def target(self, host: str, port: int) -> bool:
        """Return whether this host is permitted on this port, wherever it leads."""
        return (host, port) in self.targets

    def address(self, address: Address) -> bool:
        """Return whether the address lies in a permitted network."""
        return any(address.version == network.version and address in network for network in self.networks)


class Anywhere(Allowed):
    """Permits every host and port: for a first look at a URL's form, where the installation's exceptions are not known."""

    def target(self, host: str, port: int) -> bool:
        """Return True."""
        return True


def parse(text: str) -> Allowed:
    """Return what a comma-separated list permits: `HOST:PORT`, `NETWORK/BITS`, `*:PORT`.

    Raises `ValueError` naming the entry that is none of these.
    """
    targets, networks, ports = set(), [], {HTTPS_PORT}
    for entry in (part.strip().lower() for part in text.split(",")):
        if not entry:
            continue
        if "/" in entry:
            try:
                networks.append(ipaddress.ip_network(entry))
            except ValueError:
                raise ValueError(f"{entry} is not a network: write it as 10.1.2.0/24") from None
            continue
        host, _, port = entry.rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{entry} is neither HOST:PORT, NETWORK/BITS nor *:PORT, such as idp.corp.example:8443")
        if host == "*":
            ports.add(int(port))
        else:
            targets.add((_host(host), int(port)))
    return Allowed(frozenset(targets), tuple(networks), frozenset(ports))


def _host(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text.strip("[]")))
    except ValueError:
        return text
