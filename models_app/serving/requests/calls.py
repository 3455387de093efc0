"""One request on its way through the node, and its response."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from models_app.serving.requests.access import Key
from models_app.serving.requests.problems import Headers, body_of, headers_of
from tenants.errors import ExchequerError


@dataclass(frozen=True, slots=True)
class ServedAnswer:
    """What is sent back. `code` is the problem's code, empty for a success."""

    status: int
    headers: Headers
    body: bytes
    code: str = ""


@dataclass(slots=True, eq=False)
class Call:
    """An accepted request: its protocol (1 or 2), body, key, the future of its response, and its byte counter."""

    protocol: int
    body: bytes
    header_length: int | None
    key: Key
    request_id: str
    arrived: float
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[ServedAnswer]
    hold: Callable[[int], None]
    answer: ServedAnswer | None = None
    rows: int = 0
    given_up: bool = False
    _decided: threading.Lock = field(default_factory=threading.Lock)
    """Acquired once, never released: by the thread that abandons the call, or by the one about to record it."""

    def give_up(self) -> bool:
        """Abandon the call; return False if it is already being recorded."""
        self.given_up = self._decided.acquire(blocking=False)
        return self.given_up

    def keep(self) -> bool:
        """Prevent the call from being abandoned, so that what is charged is sent; return False if it already was."""
        return self._decided.acquire(blocking=False)

    def refuse(self, error: ExchequerError) -> None:
        """Respond with a problem."""
        self.answer = problem(error, self.request_id)


def problem(error: ExchequerError, request_id: str) -> ServedAnswer:
    """Return an error as a response."""
    return ServedAnswer(error.status, headers_of(error), body_of(error, request_id), error.code)


def deliver(calls: Sequence[Call]) -> None:
    """Deliver responses to the waiting requests with one wake-up of the event loop."""
    if calls:
        try:
            calls[0].loop.call_soon_threadsafe(_resolve, calls)
        except RuntimeError:  # the loop has ended, no client waits
            return


def _resolve(calls: Sequence[Call]) -> None:
    for call in calls:
        if not call.future.done() and call.answer is not None:
            call.future.set_result(call.answer)
