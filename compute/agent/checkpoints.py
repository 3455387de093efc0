"""Upload of checkpoints: copied out of the child's reach and stored in parallel to the heartbeat, one at a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import structlog

from compute import kinds
from compute.agent.heartbeat import HeartbeatSender, beside
from compute.leases import leases
from compute.sandbox import protocol, workdirs
from tenants.encryption import handouts

log = structlog.get_logger(__name__)


class CheckpointUploader:
    """Uploads the newest checkpoint of one attempt. `newest` is the last one that the child reported complete.

    `leave_by` is when a stopping worker gives up the running upload.
    """

    def __init__(self, mine: leases.Claim, kind: kinds.JobKind, workdir: Path) -> None:
        self.newest: protocol.Checkpoint | None = None
        self.leave_by = float("inf")
        self._mine, self._kind, self._workdir = mine, kind, workdir
        self._saving: Future[Any] | None = None

    def look(self) -> None:
        """Start to upload the newest checkpoint if no upload is running; never block. Raises Fenced."""
        if self._saving is not None and self._saving.done():
            self._saved(self._saving)
        said = self.newest
        if said is None or self._saving is not None or time.monotonic() >= self.leave_by:
            return
        self.newest = None

        def upload() -> None:
            if (copy := workdirs.copy_checkpoint(self._workdir, said.step)) is not None:
                try:
                    job, token = self._mine.job, self._mine.token
                    with handouts.working(self._mine.work):
                        pointer = self._kind.save_checkpoint(job, token, copy)
                    leases.keep_checkpoint(self._mine, pointer)
                finally:
                    workdirs.remove(copy)

        self._saving = beside(upload)

    def finish(self, heartbeat: HeartbeatSender, gather: Callable[[], None]) -> None:
        """Wait for the running upload and for the newest checkpoint after it, but not beyond a worker's stop.

        Heartbeats are sent meanwhile.
        """
        while self._saving is not None and time.monotonic() < self.leave_by:
            if heartbeat.due():
                heartbeat.renew()
            heartbeat.rest(self._saving)
            gather()

    def _saved(self, future: Future[Any]) -> None:
        """Record an upload's end; a failed one only means that an older checkpoint stays."""
        self._saving = None
        if isinstance(error := future.exception(), leases.Fenced):
            raise error
        if error is not None:
            log.warning("attempt.checkpoint_not_stored", attempt=str(self._mine.attempt_id), error=str(error))
