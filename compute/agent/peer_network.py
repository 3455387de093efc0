"""A network that only the ranks of one job share: a namespace without a way out, which one idle process keeps.

On one host it has nothing but loopback. Over several hosts it has an interface besides, whose packets this process reads and
writes: it carries them to the job's other hosts, and nowhere else.

The idle process says when the namespace is there, and ends when its standard input closes.
"""

from __future__ import annotations

import fcntl
import os
import signal
import socket
import struct
import subprocess
import sys
from pathlib import Path

from compute.sandbox import kernel

ROOT = Path(__file__).resolve().parents[2]
READY = b"ready\n"
KEEPER = (
    f"import sys; sys.path.insert(0, {str(ROOT)!r}); from compute.agent.peer_network import keep; keep(*sys.argv[1:])"
)
INTERFACE = "ranks0"
SUBNET = "10.213.0."
"""The addresses of a job's hosts, by number from 1; the namespace knows no other network."""
MOST_HOSTS = 254
MTU = 16_000
"""Octets of a packet: large, since each is carried whole over a stream."""
_SET_FLAGS, _SET_ADDRESS, _SET_MASK, _SET_MTU, _UP = 0x8914, 0x8916, 0x891C, 0x8922, 0x1
_SET_TUN, _TUN, _NO_HEADER = 0x400454CA, 0x0001, 0x1000


def address_of(host: int) -> str:
    """Return the address of a job's host, numbered from 1."""
    return f"{SUBNET}{host}"


class PeerNetwork:
    """The network of one job; `pid` is the process by which its ranks enter it (`Policy.network`).

    `packets` is the interface's descriptor, of whole IP packets; None without one.
    """

    def __init__(self, host: int | None = None) -> None:
        """Make the network, with the address of that host of the job; raises OSError if this host cannot."""
        ours, theirs = socket.socketpair()
        with theirs:
            self._keeper = subprocess.Popen(
                [sys.executable, "-I", "-c", KEEPER, *([address_of(host)] if host else [])],
                stdin=theirs.fileno(),
                env={},
            )
        self._line, self.packets = ours, None
        self.pid, self.interface = self._keeper.pid, INTERFACE if host else "lo"
        said, handles, _, _ = socket.recv_fds(ours, len(READY), 1)
        if said != READY:
            self.close()
            raise OSError("this host lets no job have a network of its own")
        self.packets = handles[0] if handles else None

    def close(self) -> None:
        """Let the network go; what is still in it keeps it alone. The caller reads and writes no packets any more."""
        self._keeper.kill()
        self._keeper.wait()
        self._line.close()
        if self.packets is not None:
            os.close(self.packets)
            self.packets = None


def keep(address: str = "") -> None:
    """Make the namespace and bring its interfaces up; keep it until standard input closes; raises OSError."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.geteuid() != 0:
        kernel.own_user_namespace()
    kernel.unshare(kernel.CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one, socket.socket(fileno=os.dup(0)) as line:
        fcntl.ioctl(one, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
        handles = []
        if address:
            tunnel = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
            name = INTERFACE.encode()
            fcntl.ioctl(tunnel, _SET_TUN, struct.pack("16sH22x", name, _TUN | _NO_HEADER))
            for request, number in ((_SET_ADDRESS, address), (_SET_MASK, "255.255.255.0")):
                fcntl.ioctl(one, request, struct.pack("16sHH4s16x", name, socket.AF_INET, 0, socket.inet_aton(number)))
            fcntl.ioctl(one, _SET_MTU, struct.pack("16si20x", name, MTU))
            fcntl.ioctl(one, _SET_FLAGS, struct.pack("16sh14x", name, _UP))
            handles.append(tunnel)
        socket.send_fds(line, [READY], handles)
        for handle in handles:
            os.close(handle)
        line.recv(1)
