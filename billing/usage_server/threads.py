"""Threads of the usage server: a fixed number, each with a database connection of its own that is closed at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, BrokenBarrierError
from typing import TypeVar

from django.db import connections

T = TypeVar("T")
END_S = 5


class Threads:
    """So many threads."""

    def __init__(self, number: int, name: str) -> None:
        self._number = number
        self._pool = ThreadPoolExecutor(number, thread_name_prefix=name)

    def run(self, call: Callable[[], T]) -> asyncio.Future[T]:
        """Have a call made in one of them; return what the event loop can wait for."""
        return asyncio.get_running_loop().run_in_executor(self._pool, call)

    def close(self) -> None:
        """Wait for the calls, close the connections and end the threads."""
        together = Barrier(self._number)
        for _ in range(self._number):
            self._pool.submit(_close_connections, together)
        self._pool.shutdown()


def _close_connections(together: Barrier) -> None:
    connections.close_all()
    try:
        together.wait(END_S)  # so that each thread gets one of these calls
    except BrokenBarrierError:
        return
