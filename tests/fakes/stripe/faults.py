"""Faults of the provider, drawn by a seed or set for the next requests."""

from __future__ import annotations

import random
import threading
from collections import Counter, deque
from dataclasses import dataclass, field

DROP = "drop"
"""The request takes effect; the connection ends without a response."""
APPLIED_500 = "applied_500"
"""The request takes effect; the response is a 500, which the key keeps."""
SAVED_500 = "saved_500"
"""No effect; the response is a 500, which the key keeps."""
LOST_500 = "lost_500"
"""No effect; the response is a 500, which no key keeps."""
LOCKED = "locked"
"""No effect: 409, as for a key in use."""
LIMITED = "limited"
"""No effect: 429 with Retry-After."""
STALL = "stall"
"""The request takes effect after `stall_s`."""

REFUSED = "refused"
"""No effect; the response is a 400, which the key keeps. It is set, never drawn: no repetition helps."""
KINDS = (DROP, APPLIED_500, SAVED_500, LOST_500, LOCKED, LIMITED, STALL)


@dataclass
class Faults:
    """`rates` maps kinds to probabilities. `counts` holds the number of faults so far, by kind."""

    rates: dict[str, float] = field(default_factory=dict)
    stall_s: float = 10
    retry_after_s: int = 1
    counts: Counter[str] = field(default_factory=Counter)
    _random: random.Random = field(default_factory=lambda: random.Random(0))
    _next: deque[tuple[str, str]] = field(default_factory=deque)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def seed(self, seed: int) -> None:
        """Start the draws again from a seed."""
        self._random = random.Random(seed)

    def spread(self, share: float) -> None:
        """Give all kinds the same probability, so that this share of all requests has a fault."""
        self.rates = {kind: share / len(KINDS) for kind in KINDS}

    def next(self, *kinds: str, path: str = "") -> None:
        """Let the next requests whose `METHOD /path` contains `path` have these faults, one each."""
        assert set(kinds) <= {*KINDS, REFUSED}
        self._next.extend((kind, path) for kind in kinds)

    def clear(self) -> None:
        """Have no more faults."""
        self.rates = {}
        self._next.clear()

    def draw(self, method: str, path: str) -> str:
        """Return the fault of a request; empty for none."""
        with self._lock:
            kind = self._draw(f"{method} {path}")
            if kind:
                self.counts[kind] += 1
            return kind

    def _draw(self, request: str) -> str:
        for at, (kind, path) in enumerate(self._next):
            if path in request:
                del self._next[at]
                return kind
        number = self._random.random() if self.rates else 1.0
        for kind, rate in self.rates.items():
            number -= rate
            if number < 0:
                return kind
        return ""
