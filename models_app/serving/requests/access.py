"""Authentication: keys known to this node, checked against PostgreSQL once per batch.

One thread queries for all endpoints, with all waiting keys in one query. An unknown key is looked up before its request
joins a batch. A known key is checked while its batch is computed, and before any response is sent. While PostgreSQL is
unreachable, keys verified within the last minute stay valid.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from uuid import UUID

import structlog

from models_app.serving.backend import Backend, BackendUnavailable
from models_app.serving.requests.rate_limit import Bucket

log = structlog.get_logger(__name__)

TRUSTED_S = 60.0
PATIENCE_S = 2.0
"""How long a batch waits for the database before it counts as unreachable; a slow one must not let a revoked key pass."""
LONGEST_KEY = 200
MOST_KEYS = 50_000
PLAYGROUND = b""
"""Replaces the digest of a key for a playground token, which is verified on arrival."""


@dataclass(slots=True)
class Key:
    """A key that was valid at `verified_at` (monotonic): its endpoint, and its own rate limit if any."""

    digest: bytes
    tenant_id: UUID
    endpoint_id: UUID
    id: UUID
    bucket: Bucket | None
    verified_at: float


class Ticket:
    """The key check of one batch. `wait` returns when it is done or has timed out."""

    __slots__ = ("_answered", "away", "digests", "on_answer")

    def __init__(self, digests: Collection[bytes], on_answer: Callable[[], None] | None = None) -> None:
        self.digests = digests
        self.away = True
        self.on_answer = on_answer
        self._answered = threading.Lock()
        self._answered.acquire()

    def answer(self, *, away: bool) -> None:
        """Mark the check as done, or as failed if the database is unreachable."""
        self.away = away
        self._answered.release()
        if self.on_answer is not None:
            self.on_answer()

    def wait(self, seconds: float) -> bool:
        """Wait for the result; return whether it arrived."""
        return self._answered.acquire(timeout=seconds)


class KeyChecker:
    """The verified keys of a node."""

    def __init__(self, backend: Backend, clock: Callable[[], float]) -> None:
        self.keys: dict[bytes, Key] = {}
        self.stalled = False
        self._backend = backend
        self._clock = clock
        self._queue: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="key-access", daemon=True)

    def start(self) -> None:
        """Start the checking thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the checking thread."""
        self._queue.put(None)

    def fresh(self, digest: bytes) -> Key | None:
        """Return a key verified within the last minute; None must be looked up first."""
        key = self.keys.get(digest)
        return key if key is not None and self._clock() - key.verified_at < TRUSTED_S else None

    def ask(self, digests: Collection[bytes], on_answer: Callable[[], None] | None = None) -> Ticket:
        """Have keys checked; `on_answer` is called from the checking thread when the result is there."""
        ticket = Ticket(digests, on_answer)
        self._queue.put(ticket)
        return ticket

    def good(self, ticket: Ticket) -> tuple[dict[bytes, Key], bool]:
        """Return the valid keys of a ticket, and whether the database confirmed them."""
        if not ticket.wait(0 if self.stalled else PATIENCE_S):
            self.stalled = True
        asked = not ticket.away
        now = self._clock()
        found = {digest: self.keys.get(digest) for digest in ticket.digests}
        return {
            digest: key for digest, key in found.items() if key and (asked or now - key.verified_at < TRUSTED_S)
        }, asked

    def _run(self) -> None:
        while True:
            waiting = [self._queue.get()]
            while not self._queue.empty():
                waiting.append(self._queue.get())
            tickets = [ticket for ticket in waiting if ticket is not None]
            away = True
            try:
                self._check({digest for ticket in tickets for digest in ticket.digests})
                away = False
            except BackendUnavailable:
                pass
            except Exception:
                log.exception("key_access.failed")
            self.stalled = False
            for ticket in tickets:
                ticket.answer(away=away)
            if None in waiting:
                return

    def _check(self, digests: set[bytes]) -> None:
        if not digests:
            return
        asked_at = self._clock()
        found = {row.digest: row for row in self._backend.known(sorted(digests))}
        limits: dict[UUID, dict[UUID, int | None]] = {}
        for digest in digests:
            row, key = found.get(digest), self.keys.get(digest)
            if row is None:
                self.keys.pop(digest, None)
            elif key is not None:
                key.verified_at = asked_at
            else:
                if row.endpoint_id not in limits:
                    limits[row.endpoint_id] = self._backend.limits(row.tenant_id, row.endpoint_id)
                limit = limits[row.endpoint_id].get(row.id)
                bucket = Bucket(limit) if limit else None
                self.keys[digest] = Key(digest, row.tenant_id, row.endpoint_id, row.id, bucket, asked_at)
        if len(self.keys) > MOST_KEYS:
            self.keys = {d: key for d, key in self.keys.items() if asked_at - key.verified_at < TRUSTED_S}


def digest_of(authorization: bytes) -> bytes | None:
    """Return the hash of the key in an Authorization header; None if it holds no possible key."""
    scheme, _, secret = authorization.partition(b" ")
    secret = secret.strip()
    if scheme.lower() != b"bearer" or not 8 <= len(secret) <= LONGEST_KEY:
        return None
    return hashlib.sha256(secret).digest()
