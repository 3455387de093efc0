"""Rate limits of keys and tenants on the API: counted in memory shared by the forked web processes of a machine.

It takes no statement, so a flood is refused before it reaches the database. Each name has one number, the time at which
its next request is due (the generic cell rate algorithm): after a burst, `rate` requests a second pass. If two
processes count at the same instant one count may be lost, which lets one more request pass.
"""

from __future__ import annotations

import math
import mmap
import struct
import time
from hashlib import blake2b

from django.conf import settings
from django.http import HttpRequest

from tenants.errors import RateLimited

SLOTS = 1 << 16
PROBES = 8
CELL = struct.Struct("<Qd")
BURST_S = 10
#: Multiples of one key's rate: a tenant may have several keys; reported usage comes in many small requests.
PER_KEY, PER_TENANT, OF_EVENTS = 1, 2, 4

_cells = mmap.mmap(-1, SLOTS * CELL.size)  # anonymous and shared: forked processes count in the same memory


#: Set in the WSGI environment by a web server that had a request counted before it took the body in.
COUNTED = "exchequer.rate_counted"


def take(request: HttpRequest, kind: str, name: str, *, times: float = 1) -> None:
    """Count a request, as `count` does, unless its web server had it counted."""
    if not request.META.get(COUNTED):
        count(kind, name, times=times)


def count(kind: str, name: str, *, times: float = 1) -> None:
    """Count one request of a key or tenant. Raises `RateLimited` with the seconds to wait when there are too many."""
    rate = settings.EXCHEQUER.api_rate * times
    if rate <= 0:
        return
    wait = due(blake2b(f"{kind} {name}".encode(), digest_size=8).digest(), rate, BURST_S, time.monotonic())
    if wait > 0:
        raise RateLimited(retry_after=math.ceil(wait))


def count_events(kind: str, name: str, times: int) -> None:
    """Count one request with reported usage, as the middleware does."""
    count(kind, f"{name} {OF_EVENTS}", times=times * OF_EVENTS)


def due(name: bytes, rate: float, burst_s: float, now: float) -> float:
    """Return the seconds until a request of `name` may pass; 0 lets it pass and counts it."""
    number = int.from_bytes(name, "little")
    place, next_at = _find(number, now)
    next_at = max(next_at, now)
    wait = next_at - now - burst_s
    if wait > 0:
        return wait
    CELL.pack_into(_cells, place, number, next_at + 1 / rate)
    return 0.0


def _find(number: int, now: float) -> tuple[int, float]:
    """Return where a name is counted, and until when; a full bucket evicts the name that is due first."""
    earliest = (math.inf, 0)
    for probe in range(PROBES):
        place = (number + probe) % SLOTS * CELL.size
        known, next_at = CELL.unpack_from(_cells, place)
        if known == number:
            return place, next_at
        earliest = min(earliest, (next_at, place))
    return earliest[1], now
