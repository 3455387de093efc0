"""One unprivileged user per running child, over all workers of a host: no child can signal or read another.

A user is held by the name of an abstract socket, which the kernel frees when the holder exits, however it exits.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field


@dataclass(frozen=True)
class User:
    """A user and group id that no other child has until it is freed."""

    uid: int
    _held: socket.socket = field(repr=False)

    def give_back(self) -> None:
        """Free it for another child."""
        self._held.close()


def take(first: int, count: int) -> User:
    """Take the first free of `count` ids starting at `first`; raises OSError when all are in use."""
    for uid in range(first, first + count):
        held = socket.socket(socket.AF_UNIX)
        try:
            held.bind(f"\0exchequer-child-{uid}")
        except OSError:
            held.close()
        else:
            return User(uid, held)
    raise OSError(f"all {count} users for children are in use")
