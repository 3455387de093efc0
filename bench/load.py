"""HTTP and statistics for the load client: parsing responses from a stream, percentiles, medians. Pure."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

NO_CONTENT = 204


@dataclass(frozen=True)
class Answer:
    """One response: its status, and whether the server closes the connection after it."""

    status: int
    closes: bool

    @property
    def is_good(self) -> bool:
        """Return whether the request succeeded as a whole; 202 leaves something undone."""
        return self.status in (200, 201, 204)


class Unreadable(Exception):
    """The bytes are not an HTTP response that this client supports."""


class Answers:
    """Parses responses to sequential requests as the bytes arrive."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Answer | None:
        """Add bytes; return the response once it is complete. Raises Unreadable."""
        self._held += data
        end = self._held.find(b"\r\n\r\n")
        if end < 0:
            return None
        first, *lines = bytes(self._held[:end]).split(b"\r\n")
        words = first.split(b" ", 2)
        if len(words) < 2 or not words[0].startswith(b"HTTP/1.") or not words[1].isdigit():
            raise Unreadable(repr(first[:80]))
        headers = {
            name.strip().lower(): value.strip().lower() for name, _, value in (line.partition(b":") for line in lines)
        }
        body = end + 4
        if headers.get(b"transfer-encoding") == b"chunked":
            over = self._chunks_end(body)
        elif int(words[1]) == NO_CONTENT:
            over = body
        elif b"content-length" in headers:
            over = body + int(headers[b"content-length"])
            over = over if len(self._held) >= over else -1
        else:
            raise Unreadable("an answer without a length")
        if over < 0:
            return None
        del self._held[:over]
        closes = headers.get(b"connection") == b"close" or (words[0] == b"HTTP/1.0" and b"connection" not in headers)
        return Answer(int(words[1]), closes)

    def _chunks_end(self, at: int) -> int:
        """Return the end of the chunked body that starts at `at`, or -1 if it is incomplete. No trailers."""
        while (line := self._held.find(b"\r\n", at)) >= 0:
            size = int(self._held[at:line].split(b";")[0], 16)
            at = line + 2 + size + 2
            if len(self._held) < at:
                return -1
            if size == 0:
                return at
        return -1


def percentile(seconds: Sequence[float], share: float) -> float:
    """Return the smallest value not exceeded by `share` of all (nearest rank); NaN if empty."""
    if not seconds:
        return math.nan
    return sorted(seconds)[max(0, math.ceil(share * len(seconds)) - 1)]


@dataclass(frozen=True)
class Seen:
    """Measurements of one round at one server: successful responses per second, latencies in seconds, and failures."""

    rate: float
    p50: float
    p99: float
    failed: int = 0
    held: int = 0


def seen(latencies: Sequence[float], seconds: float, *, failed: int, held: int = 0) -> Seen:
    """Return the summary of a round."""
    return Seen(len(latencies) / seconds, percentile(latencies, 0.5), percentile(latencies, 0.99), failed, held)


def median(rounds: Sequence[Seen]) -> Seen:
    """Return the median of each figure over the rounds; failures are summed, of held connections the minimum counts."""
    return Seen(
        statistics.median(one.rate for one in rounds),
        statistics.median(one.p50 for one in rounds),
        statistics.median(one.p99 for one in rounds),
        sum(one.failed for one in rounds),
        min(one.held for one in rounds),
    )
