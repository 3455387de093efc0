"""Wake-ups for the ops worker. They may be lost; the sweeps find unfinished work."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

import structlog
from celery import current_app
from kombu.exceptions import OperationalError

log = structlog.get_logger(__name__)
INGEST, DISCARD, REMOVE_JOB_FILES = "models_app.ingest", "models_app.discard", "models_app.remove_job_files"


def wake_ingest(version_id: UUID, tenant_id: UUID) -> None:
    """Wake the worker to ingest a dataset version."""
    _send_wake_up(INGEST, [str(version_id), str(tenant_id)])


def wake_discard(keys: Sequence[str], tenant_id: UUID) -> None:
    """Wake the worker to remove unreferenced files."""
    _send_wake_up(DISCARD, [list(keys), str(tenant_id)])


def wake_remove_job_files(job_id: UUID, tenant_id: UUID) -> None:
    """Wake the worker to remove what an ended job left in the object store."""
    _send_wake_up(REMOVE_JOB_FILES, [str(job_id), str(tenant_id)])


def _send_wake_up(task: str, arguments: list[object]) -> None:
    try:
        current_app.send_task(task, args=arguments)
    except (OperationalError, ConnectionError) as error:
        log.warning("wake_up.not_sent", task=task, error=str(error))
