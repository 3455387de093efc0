"""Whose upload this worker reads next: two files at once, one of each organisation, organisations in turn.

Mail, webhooks and events share the worker's threads, so whoever must wait holds none: it stands in line here and is
rung again when there is room. The line is a convenience and no truth; what is lost with it is found by the sweep.
"""

from __future__ import annotations

import threading
from uuid import UUID

AT_ONCE = 2


class Turns:
    """Who reads and who waits, in one process."""

    def __init__(self, at_once: int = AT_ONCE) -> None:
        self._at_once = at_once
        self._lock = threading.Lock()
        self._reading: dict[UUID, UUID] = {}
        self._waiting: dict[UUID, list[UUID]] = {}  # by tenant, in the order of their turns

    def begin(self, version_id: UUID, tenant_id: UUID) -> bool:
        """Return whether this version may be read now; otherwise it stands in line, once."""
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
        """Leave; return the (version, tenant) that is to be rung now, which no longer stands in line."""
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
        """Return the versions that are read or stand in line here: nobody needs to ring for them."""
        with self._lock:
            return {*self._reading.values(), *(one for line in self._waiting.values() for one in line)}


turns = Turns()
