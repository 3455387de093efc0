"""Gather the hosts of an attempt on several of them, before its first rank starts."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import connection

from compute.agent.meeting import Meeting
from compute.agent.peer_network import PeerNetwork
from compute.leases import leases, parts

GATHER_S = 60.0
"""How long the hosts may take to come: a wake-up may have to be sent again."""


def gather(
    mine: leases.Claim, workdir: Path, beside: Callable[[Callable[[], None]], None], given_up: Callable[[], bool]
) -> Meeting:
    """Return the meeting of an attempt on a network of its own, whose hosts have its input and checkpoint.

    `beside` runs slow work while the lease is kept. Raises OSError if a host does not come, or it was given up.
    """
    network = PeerNetwork(1)
    try:
        meeting = Meeting(
            network=network,
            ranks=mine.elsewhere,
            bind=(settings.EXCHEQUER.node_address or own_address(), _ports()),
            silence_s=settings.EXCHEQUER.lease_s / 3,
            spool=workdir.parent,
        )
    except BaseException:
        network.close()
        raise
    checkpoint = workdir / "checkpoint"

    def invite() -> None:
        parts.publish(mine, meeting.rendezvous)
        meeting.gather(GATHER_S, given_up)
        meeting.hand_out(workdir / "in", checkpoint if checkpoint.is_dir() else None)

    try:
        beside(invite)
    except BaseException:
        meeting.close()
        raise
    return meeting


def _ports() -> range:
    first, _, last = settings.EXCHEQUER.gang_ports.partition("-")
    return range(int(first), int(last) + 1) if first else range(1)


def own_address() -> str:
    """Return this host's address on its way to the database; loopback if that is on this host."""
    database = str(connection.settings_dict["HOST"])
    if database and not database.startswith("/"):
        for family, kind, _, _, target in socket.getaddrinfo(database, 9, type=socket.SOCK_DGRAM):
            with contextlib.suppress(OSError), socket.socket(family, kind) as probe:
                probe.connect(target)
                return str(probe.getsockname()[0])
    return "127.0.0.1"
