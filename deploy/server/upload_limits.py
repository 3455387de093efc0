"""Buffers of request bodies: on disk, limited per web process and sender; or discarded."""

from __future__ import annotations

import threading
from io import BytesIO

from tenants.errors import RateLimited, Unavailable

MIB = 1024 * 1024


class TooManyUploads(RateLimited):
    """You are sending as much as may be sent at once. Try again when some of it has arrived."""

    code = "too_many_uploads"

    def __init__(self) -> None:
        super().__init__(retry_after=5)


class UploadBudget:
    """Budget of body bytes on disk, in this process; `share` divides the whole between processes.

    One sender has at most half, so nobody can use all of it.
    """

    def __init__(self, most: int, least: int) -> None:
        self.most = self.whole = most
        self.least = least
        self.used = 0
        self.of: dict[str, int] = {}
        self.lock = threading.Lock()

    def share(self, processes: int) -> None:
        """Divide the budget between `processes`; `least` always fits."""
        self.most = max(self.whole // processes, self.least)

    def take(self, size: int, sender: str) -> None:
        """Count more bytes of a sender. Raises TooManyUploads beyond its half, Unavailable if nothing is left."""
        with self.lock:
            mine = self.of.get(sender, 0) + size
            if mine > self.most // 2:
                raise TooManyUploads
            if self.used + size > self.most:
                raise Unavailable
            self.used += size
            self.of[sender] = mine

    def give_back(self, size: int, sender: str) -> None:
        """Release counted bytes."""
        if not size:
            return
        with self.lock:
            self.used -= size
            self.of[sender] -= size
            if not self.of[sender]:
                del self.of[sender]


class DiscardBuffer:
    """A buffer that discards its data, and counts what follows the first `size` bytes."""

    def __init__(self, size: int = 0) -> None:
        self.size = size

    def append(self, data: bytes) -> None:
        """Discard the bytes."""
        self.size += len(data)

    def __len__(self) -> int:
        return self.size

    def getfile(self) -> BytesIO:
        """Return an empty file."""
        return BytesIO()

    def close(self) -> None:
        """Do nothing: nothing is open."""


#: For files of authenticated senders, by tenant, and for bodies that anybody may send, by address.
UPLOADS, ANYBODY = UploadBudget(512 * MIB, 80 * MIB), UploadBudget(128 * MIB, 32 * MIB)
