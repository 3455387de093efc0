"""A rank that runs on another host of its attempt, with the part of a child's interface that a gang needs."""

from __future__ import annotations

import signal
import threading
from collections import deque

from compute.agent.link import Link, Message
from compute.sandbox import protocol
from compute.sandbox.process import Member


class RemoteRank:
    """A rank elsewhere. It has ended once its host says so, or has surely noticed that it was left alone."""

    members: tuple[Member, ...] = ()
    startup_s: float | None = None

    def __init__(self, number: int, link: Link, changed: threading.Event, *, patience_s: float) -> None:
        self.number, self.link = number, link
        self.said: deque[protocol.Report] = deque()
        self.lines: deque[str] = deque()
        self.exited, self.changed = threading.Event(), changed
        self.exit_code: int | None = None
        self.peak_bytes = 0
        self._patience_s = patience_s

    def ask_to_stop(self) -> None:
        """Ask it to save a checkpoint and exit."""
        self.link.send({"do": "stop", "rank": self.number})

    def kill(self) -> None:
        """Kill it; returns when it is gone. A host that does not answer is left alone, and ends it by itself."""
        if self.exited.is_set():
            return
        self.link.send({"do": "kill", "rank": self.number})
        if not self.exited.wait(self._patience_s):
            self.link.abort()
            self.exited.wait(2 * self._patience_s)

    def take(self, message: Message) -> None:
        """Take what its host says of it."""
        if message["say"] == "fault":
            self.said.append(protocol.Fault(str(message["code"]), str(message["message"])))
        elif message["say"] == "exited":
            self.peak_bytes = int(message["peak"])
            self._end(int(message["exit"]))

    def lose(self) -> None:
        """Count it as killed from outside: its host is away."""
        self._end(-signal.SIGKILL)

    def _end(self, code: int) -> None:
        if not self.exited.is_set():
            self.exit_code = code
            self.exited.set()
            self.changed.set()
