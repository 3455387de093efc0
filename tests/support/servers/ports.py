"""Ports for servers of tests, outside the range that the system assigns to others before the server binds."""

from __future__ import annotations

import secrets
from pathlib import Path

from deploy.local import services

LEAST = 10_000
GIVEN_AWAY = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_ports(count: int) -> list[int]:
    """Return `count` different ports of the loopback address that nobody uses, and that no connection gets by chance."""
    end = int(GIVEN_AWAY.read_text().split()[0]) if GIVEN_AWAY.exists() else 0
    if end < 2 * LEAST:
        return services.free_ports(count)
    chosen: list[int] = []
    while len(chosen) < count:
        port = LEAST + secrets.randbelow(end - LEAST)
        if port not in chosen and services.port_free(port):
            chosen.append(port)
    return chosen


def free_port() -> int:
    """Return one such port."""
    return free_ports(1)[0]
