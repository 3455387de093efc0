"""Threads for external events: a hanging mail server blocks these threads and no others.

Nothing is lost with the process: an external event stays open in the outbox until it is handled, and is offered again.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Hashable

import structlog
from django.db import connections

log = structlog.get_logger(__name__)


class ThreadQueue:
    """A few dedicated threads with a bounded queue; queued work is not accepted twice."""

    def __init__(self, name: str, *, threads: int, most: int) -> None:
        self.name = name
        self.threads = threads
        self.waiting: queue.Queue[tuple[Hashable, Callable[[], object]]] = queue.Queue(most)
        self.known: set[Hashable] = set()
        self.lock = threading.Lock()
        self.started = 0

    def put(self, key: Hashable, work: Callable[[], object]) -> bool:
        """Queue `work`; return False if the queue is full, or `key` is queued or running already."""
        with self.lock:
            if key in self.known or self.waiting.full():
                return False
            self.known.add(key)
            self.waiting.put_nowait((key, work))
            if self.started < self.threads:
                self.started += 1
                threading.Thread(target=self._run, name=f"{self.name}-{self.started}", daemon=True).start()
        return True

    def _run(self) -> None:
        while True:
            key, work = self.waiting.get()
            try:
                work()
            except Exception:
                log.exception("external_work.failed", what=self.name)
            finally:
                connections.close_all()
                with self.lock:
                    self.known.discard(key)


EXTERNAL_EVENTS = ThreadQueue("external-events", threads=4, most=1_000)
ACCOUNT_EMAILS = ThreadQueue("account-emails", threads=2, most=100)
