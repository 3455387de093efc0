"""A network that only the ranks of one job share: a namespace with nothing but loopback, which one idle process keeps.

The process says when the namespace is there, and ends when its standard input closes.
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
KEEPER = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from compute.agent.peer_network import keep; keep()"
_SET_FLAGS, _UP = 0x8914, 0x1


class PeerNetwork:
    """The network of one job; `pid` is the process by which its ranks enter it (`Policy.network`)."""

    def __init__(self) -> None:
        """Make the network; raises OSError if this host cannot."""
        self._keeper = subprocess.Popen(
            [sys.executable, "-I", "-c", KEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={}
        )
        said = self._keeper.stdout
        if said is None or said.readline() != READY:
            self.close()
            raise OSError("this host lets no job have a network of its own")
        self.pid = self._keeper.pid

    def close(self) -> None:
        """Let the network go; what is still in it keeps it alone."""
        self._keeper.kill()
        self._keeper.wait()
        for pipe in (self._keeper.stdin, self._keeper.stdout):
            if pipe is not None:
                pipe.close()


def keep() -> None:
    """Make the namespace, bring its loopback up, and keep it until standard input closes; raises OSError."""
    kernel.prctl(kernel.PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.geteuid() != 0:
        kernel.own_user_namespace()
    kernel.unshare(kernel.CLONE_NEWNET)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        fcntl.ioctl(one, _SET_FLAGS, struct.pack("16sh14x", b"lo", _UP))
    os.write(1, READY)
    os.read(0, 1)
