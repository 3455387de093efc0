"""One unprivileged user a running child, over all workers of a host: no two children can signal or read each other.

A user is held by the name of an abstract socket, which the kernel gives back when the holder ends, however it ends.
"""

from __future__ import annotations

import socket
from dataclasses import dataclass, field


@dataclass(frozen=True)
class User:
    """A user and group id that nobody else's child has until it is given back."""

    uid: int
    _held: socket.socket = field(repr=False)

    def give_back(self) -> None:
        """Let another child have it."""
        self._held.close()


def take(first: int, count: int) -> User:
    """Take the first free one of `count` ids from `first` on; raises OSError when all are in use."""
    for uid in range(first, first + count):
        held = socket.socket(socket.AF_UNIX)
        try:
            held.bind(f"\0exchequer-child-{uid}")
        except OSError:
            held.close()
        else:
            return User(uid, held)
    raise OSError(f"all {count} users for children are in use")
