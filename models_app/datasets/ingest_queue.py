"""Order in which this worker reads uploads: two files at once, one per organisation, organisations in turn.

Email, webhooks and events share the worker's threads, so a waiting upload holds none: it queues here and is woken when
a reader is free. The queue lives in memory only; the sweep finds what is lost with it.
"""

from __future__ import annotations

import threading
from uuid import UUID

AT_ONCE = 2


class Turns:
    """Uploads being read and waiting, in one process."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._lock = threading.Lock()
        self._reading: dict[UUID, UUID] = {}
        self._waiting: dict[UUID, list[UUID]] = {}  # by tenant, in order of arrival

    def begin(self, version_id: UUID, tenant_id: UUID) -> bool:
        """Return whether this version may be read now; otherwise queue it, once."""
        with self._lock:
            if self._reading.get(tenant_id) == version_id:
                return False
            if tenant_id not in self._reading and len(self._reading) < self._at_once:
                self._reading[tenant_id] = version_id
                return True
            line = self._waiting.setdefault(tenant_id, [])
            if version_id not in line:
                line.append(version_id)
            return False

    def end(self, tenant_id: UUID) -> tuple[UUID, UUID] | None:
        """Finish a read; return the (version, tenant) to wake next, taken off the queue."""
        with self._lock:
            del self._reading[tenant_id]
            following = next((one for one in self._waiting if one not in self._reading), None)
            if following is None:
                return None
            version_id, *others = self._waiting.pop(following)
            if others:
                self._waiting[following] = others  # behind the other tenants
            return version_id, following

    def known(self) -> set[UUID]:
        """Return the versions being read or queued here, which need no wake-up."""
        with self._lock:
            return {*self._reading.values(), *(one for line in self._waiting.values() for one in line)}


turns = Turns()
