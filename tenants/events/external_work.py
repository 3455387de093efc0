"""Threads for external events: a hanging mail server blocks these threads and no others.

Nothing is lost with the process: an external event stays open in the outbox until it is handled, and is offered again.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable

import structlog
from django.conf import settings
from django.db import connections

log = structlog.get_logger(__name__)
Work = tuple[Hashable, Callable[[], object]]


def mail_is_sent() -> bool:
    """Return whether a server delivers email, so that only the owner of a mailbox reads it; else it goes to files."""
    name: str = settings.EMAIL_BACKEND
    return name != "tenants.notifications.file_backend.FileBackend"


class ThreadQueue:
    """A few dedicated threads with a bounded queue; queued work is not accepted twice.

    Shares, such as tenants, take turns: of one share at most `of_one` run at once, and it fills at most half the queue.
    """

    def __init__(self, name: str, *, threads: int, most: int, of_one: int | None = None) -> None:
        self.name = name
        self.threads = threads
        self.most = most
        self.of_one = of_one or threads
        self.known: set[Hashable] = set()
        self.started = 0
        self._waiting: dict[Hashable, deque[Work]] = {}
        self._running: Counter[Hashable] = Counter()
        self._changed = threading.Condition()

    def put(self, key: Hashable, work: Callable[[], object], share: Hashable = None) -> bool:
        """Queue `work`; return False if the queue or the share's part is full, or `key` is queued or running already."""
        with self._changed:
            own = self._waiting.get(share, ())
            full = sum(map(len, self._waiting.values())) >= self.most or (
                share is not None and len(own) >= self.most / 2
            )
            if key in self.known or full:
                return False
            self.known.add(key)
            self._waiting.setdefault(share, deque()).append((key, work))
            if self.started < self.threads:
                self.started += 1
                threading.Thread(target=self._run, name=f"{self.name}-{self.started}", daemon=True).start()
            self._changed.notify()
        return True

    def length(self) -> int:
        """Return how much waits."""
        with self._changed:
            return sum(map(len, self._waiting.values()))

    def _run(self) -> None:
        while True:
            share, (key, work) = self._next()
            try:
                work()
            except Exception:
                log.exception("external_work.failed", what=self.name)
            finally:
                connections.close_all()
                with self._changed:
                    self.known.discard(key)
                    self._running[share] -= 1
                    self._changed.notify()

    def _next(self) -> tuple[Hashable, Work]:
        """Wait for work of a share that has a place free; the share then stands behind the others."""
        with self._changed:
            while True:
                for share, own in self._waiting.items():
                    if self._running[share] < self.of_one:
                        found = own.popleft()
                        del self._waiting[share]
                        if own:
                            self._waiting[share] = own
                        self._running += Counter({share: 1})
                        return share, found
                self._changed.wait()


EXTERNAL_EVENTS = ThreadQueue("external-events", threads=4, most=1_000)
#: Servers that tenants name: one that hangs holds two threads at most, for the time limit of a request.
SLOW_EVENTS = ThreadQueue("slow-events", threads=12, most=4_000, of_one=2)
ACCOUNT_EMAILS = ThreadQueue("account-emails", threads=2, most=100)
