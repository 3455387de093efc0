"""Lanes of the usage server: who is stored together."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Event

import pytest

from billing.reported.ingest import LARGEST_BODY
from billing.usage_server.calls import STORED, Answer, Call, Origin
from billing.usage_server.lanes import Lanes
from tests.support.waiting import PATIENCE_S


class Store:
    """Notes the groups by the ids of their requests, and stores one when it may."""

    def __init__(self) -> None:
        self.groups: list[list[str]] = []
        self.begun, self.ends = Event(), Event()

    def __call__(self, calls: Sequence[Call]) -> list[Answer]:
        self.groups.append([call.request_id for call in calls])
        self.begun.set()
        self.ends.wait(PATIENCE_S)
        return [STORED] * len(calls)


def call(name: str, body: bytes = b"") -> Call:
    future: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
    return Call("key", Origin("", ""), name, "application/json", body, future)


@pytest.mark.parametrize(
    ("size", "groups"),
    [
        (1, [["a"], ["b", "c", "a again"]]),
        # What does not fit waits for nobody.
        (LARGEST_BODY, [["a"], ["b"], ["c"], ["a again"]]),
    ],
)
def test_who_comes_back_is_stored_with_those_that_waited(size: int, groups: list[list[str]]) -> None:
    store = Store()

    async def scenario() -> None:
        lanes = Lanes(store)
        first, back = call("a"), call("a again", bytes(size))
        lanes.offer(first)
        assert await asyncio.to_thread(store.begun.wait, PATIENCE_S)
        waiting = [call(name, bytes(size)) for name in "bc"]
        for one in waiting:
            lanes.offer(one)
        # Before the event loop looks at any timer.
        first.future.add_done_callback(lambda _: lanes.offer(back))
        store.ends.set()
        await asyncio.gather(*(one.future for one in [first, *waiting, back]))
        await asyncio.to_thread(lanes.close)

    # In a thread of its own: where a browser's tests ran before, an event loop runs in this one.
    with ThreadPoolExecutor(1) as pool:
        pool.submit(lambda: asyncio.run(scenario())).result()
    assert store.groups == groups
