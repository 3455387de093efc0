"""Who may call: the keys that this node knows, checked against PostgreSQL once a batch.

One thread asks for all endpoints: everything that waits goes into one query. A key that is not known yet is looked up
before its request joins a batch; a known one is checked while its batch is computed, and before any answer leaves. While
PostgreSQL is away, keys that were good within the last minute go on.
"""

from __future__ import annotations

import hashlib
import queue
import threading
from collections.abc import Callable, Collection
from dataclasses import dataclass
from uuid import UUID

import structlog

from models_app.serving.backend import Away, Backend
from models_app.serving.requests.rate_limit import Bucket

log = structlog.get_logger(__name__)

TRUSTED_S = 60.0
PATIENCE_S = 2.0
"""How long a batch waits for the database before it counts as away; a slow one must not let a revoked key pass."""
LONGEST_KEY = 200
MOST_KEYS = 50_000
PASS = b""
"""Stands for the digest of a key where a pass of the endpoint's page was taken: that is checked when it comes in."""


@dataclass(slots=True)
class Key:
    """A key that was good at `verified_at` (monotonic): the endpoint it calls, and its own limit if it has one."""

    digest: bytes
    tenant_id: UUID
    endpoint_id: UUID
    id: UUID
    bucket: Bucket | None
    verified_at: float


class Ticket:
    """One batch's question. `wait` returns when it is answered, or when asking takes too long."""

    __slots__ = ("_answered", "away", "digests", "tell")

    def __init__(self, digests: Collection[bytes], tell: Callable[[], None] | None = None) -> None:
        self.digests = digests
        self.away = True
        self.tell = tell
        self._answered = threading.Lock()
        self._answered.acquire()

    def answer(self, *, away: bool) -> None:
        """Say that the question was asked, or could not be."""
        self.away = away
        self._answered.release()
        if self.tell is not None:
            self.tell()

    def wait(self, seconds: float) -> bool:
        """Wait for the answer; return whether it came."""
        return self._answered.acquire(timeout=seconds)


class KeyChecker:
    """The keys of a node."""

    def __init__(self, backend: Backend, clock: Callable[[], float]) -> None:
        self.keys: dict[bytes, Key] = {}
        self.stalled = False
        self._backend = backend
        self._clock = clock
        self._queue: queue.SimpleQueue[Ticket | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="door", daemon=True)

    def start(self) -> None:
        """Begin to ask."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._queue.put(None)

    def fresh(self, digest: bytes) -> Key | None:
        """Return a key that was good within the last minute; None must be looked up first."""
        key = self.keys.get(digest)
        return key if key is not None and self._clock() - key.verified_at < TRUSTED_S else None

    def ask(self, digests: Collection[bytes], tell: Callable[[], None] | None = None) -> Ticket:
        """Have keys checked; `tell` is called, from the door's thread, when the answer is there."""
        ticket = Ticket(digests, tell)
        self._queue.put(ticket)
        return ticket

    def good(self, ticket: Ticket) -> tuple[dict[bytes, Key], bool]:
        """Return which of a ticket's keys may be answered, and whether the database said so."""
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
            except Away:
                pass
            except Exception:
                log.exception("door.failed")
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
    """Return the hash of the key in an Authorization header; None when there is none that could be a key."""
    scheme, _, secret = authorization.partition(b" ")
    secret = secret.strip()
    if scheme.lower() != b"bearer" or not 8 <= len(secret) <= LONGEST_KEY:
        return None
    return hashlib.sha256(secret).digest()
