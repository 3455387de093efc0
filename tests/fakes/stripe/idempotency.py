"""Idempotency keys as version 1 of the API keeps them: the first response returns, an error 500 too."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from tests.fakes.stripe.errors import Refusal, bad
from tests.fakes.stripe.store import Clock

LIFE_S = 24 * 3600
LONGEST_KEY = 255


@dataclass
class Answer:
    """A response as it is sent."""

    status: int
    body: dict[str, Any]
    request_id: str
    replayed: bool = False


@dataclass
class _Kept:
    fingerprint: str
    since: int
    answer: Answer | None = None


class Keys:
    """Keys of the last 24 hours. A request `begin`s with its key, then `keep`s its response or `free`s the key.

    Stripe promises 24 hours and may keep a key longer: `life_s`.
    """

    def __init__(self, clock: Clock) -> None:
        self.life_s = LIFE_S
        self._clock = clock
        self._kept: dict[str, _Kept] = {}
        self._lock = threading.Lock()

    def begin(self, key: str, fingerprint: str) -> Answer | None:
        """Return the response that the key holds; None reserves it. Raises 400 and 409."""
        if not 1 <= len(key) <= LONGEST_KEY:
            raise bad("Idempotency-Key must be at most 255 characters.", saved=False)
        with self._lock:
            now = self._clock.now()
            self._kept = {name: one for name, one in self._kept.items() if now - one.since < self.life_s}
            held = self._kept.get(key)
            if held is None:
                self._kept[key] = _Kept(fingerprint, now)
                return None
            if held.fingerprint != fingerprint:
                message = (
                    "Keys for idempotent requests can only be used with the same parameters they were first used with. "
                    f"Try using a key other than '{key}' if you meant to execute a different request."
                )
                raise Refusal(400, "idempotency_error", message, saved=False)
            if held.answer is None:
                message = f"There is currently another in-progress request using this Idempotent Key ({key})."
                raise Refusal(409, "idempotency_error", message, saved=False, code="idempotency_key_in_use")
            return Answer(held.answer.status, held.answer.body, held.answer.request_id, replayed=True)

    def keep(self, key: str, answer: Answer) -> None:
        """Keep the response to the first request with this key."""
        with self._lock:
            if key in self._kept:
                self._kept[key].answer = answer

    def free(self, key: str) -> None:
        """Give the key up: the request was refused before it was executed."""
        with self._lock:
            self._kept.pop(key, None)

    def free_or_kept(self, key: str) -> bool:
        """Return whether no request with this key is running."""
        held = self._kept.get(key)
        return held is None or held.answer is not None

    def running(self) -> int:
        """Return how many requests with a key are being executed."""
        with self._lock:
            return sum(one.answer is None for one in self._kept.values())

    def __len__(self) -> int:
        return len(self._kept)
