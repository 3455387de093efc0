"""The greedy batcher: a free thread takes everything that waits. Without a timer, no request waits for others.

Pure except for the lock shared by both sides; the clock is an argument.
"""

from __future__ import annotations

import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from tenants.errors import ExchequerError

T = TypeVar("T")

MAX_BATCH = 64
MAX_BATCH_WEIGHT = 8 * 1024**2
MAX_WAITING = 1024
MAX_WAITING_WEIGHT = 64 * 1024**2
#: Weight of the newest batch time in the estimate.
NEWEST = 0.2


class Overloaded(ExchequerError):
    """The endpoint has more requests than it can answer in time. Try again after Retry-After."""

    code = "overloaded"
    status = 429


class Closed(Exception):
    """The batcher accepts no more items; those that wait can still be taken."""


class Batcher(Generic[T]):
    """Items in order of arrival, with a weight (bytes) each. One thread offers, one takes."""

    def __init__(
        self,
        *,
        clock: Callable[[], float],
        slo_s: float,
        max_batch: int = MAX_BATCH,
        max_batch_weight: int = MAX_BATCH_WEIGHT,
        max_waiting: int = MAX_WAITING,
        max_waiting_weight: int = MAX_WAITING_WEIGHT,
    ) -> None:
        self.slo_s = slo_s
        self.batch_s = 0.0
        self.closed = False
        self._clock = clock
        self._caps = (max_batch, max_batch_weight, max_waiting, max_waiting_weight)
        self._waiting: deque[tuple[T, int]] = deque()
        self._weight = 0
        self._busy_since: float | None = None
        self._turn = threading.Condition(threading.Lock())

    def __len__(self) -> int:
        return len(self._waiting)

    def offer(self, item: T, weight: int = 1) -> None:
        """Queue an item. Raises Overloaded if it would exceed the SLO or the queue is full, Closed."""
        _, _, max_waiting, max_weight = self._caps
        with self._turn:
            if self.closed:
                raise Closed
            wait = self.expected_wait_s()
            full = len(self._waiting) >= max_waiting or (self._waiting and self._weight + weight > max_weight)
            if full or (self._waiting and wait > self.slo_s):
                raise Overloaded(retry_after=max(1, math.ceil(wait)))
            self._waiting.append((item, weight))
            self._weight += weight
            if self._busy_since is None:
                self._turn.notify()

    def expected_wait_s(self) -> float:
        """Return the expected wait, in seconds, of an item offered now: the running batch and those before it."""
        running = 0.0
        if self._busy_since is not None:
            running = max(0.0, self.batch_s - (self._clock() - self._busy_since))
        return running + (len(self._waiting) // self._caps[0]) * self.batch_s

    def take(self, timeout: float | None = None) -> list[T]:
        """Return all waiting items, up to the caps, as soon as there are any; an empty list on timeout or when closed.

        The taker counts as busy until `finished`.
        """
        max_batch, max_weight, _, _ = self._caps
        with self._turn:
            self._busy_since = None
            if not self._waiting and not self.closed:
                self._turn.wait_for(lambda: self._waiting or self.closed, timeout)
            batch: list[T] = []
            weight = 0
            while self._waiting and len(batch) < max_batch:
                if batch and weight + self._waiting[0][1] > max_weight:
                    break
                item, own = self._waiting.popleft()
                batch.append(item)
                weight += own
            self._weight -= weight
            if batch:
                self._busy_since = self._clock()
            return batch

    def finished(self) -> float:
        """Mark the last taken batch as done; return its seconds, which update the estimate."""
        with self._turn:
            if self._busy_since is None:
                return 0.0
            took = self._clock() - self._busy_since
            self._busy_since = None
            self.batch_s = took if self.batch_s == 0 else self.batch_s + NEWEST * (took - self.batch_s)
            return took

    def close(self) -> None:
        """Accept no more items."""
        with self._turn:
            self.closed = True
            self._turn.notify_all()

    @property
    def drained(self) -> bool:
        """Return whether it is closed and empty."""
        return self.closed and not self._waiting
