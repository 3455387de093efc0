"""Requests that wait to be stored: a lane for each key, from which a thread takes what may be stored together.

One thread at a time works for a key. So a key never holds more than one connection, and all of its requests that come
meanwhile make one group.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from billing.reported.ingest import LARGEST_BODY
from billing.usage_server.calls import Answer, Call, broken
from billing.usage_server.threads import Threads
from tenants.errors import RateLimited, Unavailable

THREADS = 4
#: The most requests that wait here, and of one key.
MOST, MOST_OF_KEY = 2_048, 512
#: After a group its callers come back. The next one waits for as many as were on their way, those that wait already
#: among them, while they come at most so many milliseconds apart, and not longer than the second number.
RETURN_MS, LONGEST_RETURN_MS = 8, 40
MOST_LANES = 4_096


class TooManyWaiting(RateLimited):
    """As many requests of this key wait to be stored as may wait. Send several events in one request."""


@dataclass(eq=False)
class Lane:
    """What waits of one key. `usual`: requests on their way at the end of its last group; until `patient_until` the next one waits for as many.

    Each that comes extends that, until `latest`. `is_full`: the last group left some behind, so that the next one need not wait for more.
    """

    calls: deque[Call] = field(default_factory=deque)
    busy: bool = False
    usual: int = 0
    is_full: bool = False
    patient_until: float = 0
    latest: float = 0
    timer: asyncio.TimerHandle | None = None

    def take(self) -> list[Call]:
        """Take the first request and those of equal origin that fit into the size of one body with it."""
        first = self.calls.popleft()
        group, left, room = [first], deque[Call](), LARGEST_BODY - len(first.body)
        for call in self.calls:
            if call.origin == first.origin and len(call.body) <= room:
                group.append(call)
                room -= len(call.body)
            else:
                left.append(call)
        self.calls, self.is_full = left, bool(left)
        return group


class Lanes:
    """The lanes of all keys, and the threads that store. Used on the event loop alone."""

    def __init__(self, store: Callable[[Sequence[Call]], list[Answer]]) -> None:
        self._store = store
        self._threads = Threads(THREADS, "usage-store")
        self._free = THREADS
        self._lanes: dict[str, Lane] = {}
        self._ready: deque[Lane] = deque()
        self.waiting = 0

    def offer(self, call: Call) -> None:
        """Queue a request. Raises Unavailable or TooManyWaiting when as many wait as may."""
        if self.waiting >= MOST:
            raise Unavailable(retry_after=1)
        lane = self._lanes.get(call.key)
        if lane is None:
            self._forget_idle()
            lane = self._lanes[call.key] = Lane()
        if len(lane.calls) >= MOST_OF_KEY:
            raise TooManyWaiting(retry_after=1)
        lane.calls.append(call)
        lane.patient_until = min(asyncio.get_running_loop().time() + RETURN_MS / 1000, lane.latest)
        self.waiting += 1
        self._consider(lane)

    def close(self) -> None:
        """Wait until everything is stored, and end the threads."""
        self._threads.close()

    def _consider(self, lane: Lane) -> None:
        """Have a lane served, now or when its callers had the time to come back."""
        if lane.busy or not lane.calls:
            return
        loop = asyncio.get_running_loop()
        if len(lane.calls) < lane.usual and loop.time() < lane.patient_until:
            if lane.timer is None:
                lane.timer = loop.call_at(lane.patient_until, self._wait_no_longer, lane)
            return
        if lane.timer is not None:
            lane.timer.cancel()
            lane.timer = None
        lane.busy = True
        self._ready.append(lane)
        self._start()

    def _wait_no_longer(self, lane: Lane) -> None:
        lane.timer = None
        if asyncio.get_running_loop().time() >= lane.patient_until:
            lane.usual = 0
        self._consider(lane)

    def _start(self) -> None:
        while self._free and self._ready:
            lane = self._ready.popleft()
            group = lane.take()
            self._free -= 1
            stored = self._threads.run(partial(self._store, group))
            stored.add_done_callback(partial(self._stored, lane, group))

    def _stored(self, lane: Lane, group: Sequence[Call], stored: asyncio.Future[list[Answer]]) -> None:
        failed = stored.cancelled() or stored.exception() is not None
        answers = [broken(call.request_id) for call in group] if failed else stored.result()
        for call, answer in zip(group, answers, strict=True):
            if not call.future.done():
                call.future.set_result(answer)
        self._free += 1
        self.waiting -= len(group)
        lane.busy = False
        lane.usual = len(group) if lane.is_full else len(group) + len(lane.calls)
        now, together = asyncio.get_running_loop().time(), lane.usual > 1
        lane.patient_until = now + (RETURN_MS if together else 0) / 1000
        lane.latest = now + (LONGEST_RETURN_MS if together else 0) / 1000
        self._consider(lane)
        self._start()

    def _forget_idle(self) -> None:
        if len(self._lanes) >= MOST_LANES:
            self._lanes = {key: lane for key, lane in self._lanes.items() if lane.calls or lane.busy}
