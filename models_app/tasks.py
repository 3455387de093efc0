"""Doorbells of this room, answered by the ops worker."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from models_app import wakeups
from models_app.datasets import ingestion
from models_app.datasets.ingest_queue import turns
from models_app.endpoints import reservations
from models_app.files import encrypting, orphans
from models_app.monitoring import retention
from models_app.object_store import storage


@shared_task(name=wakeups.INGEST)
def ingest(version_id: str, tenant_id: str) -> None:
    """Ingest one dataset version, or let it wait for its turn without holding a thread."""
    version, tenant = UUID(version_id), UUID(tenant_id)
    if not turns.begin(version, tenant):
        return
    try:
        ingestion.ingest(version, tenant)
    finally:
        following = turns.end(tenant)
        if following is not None:
            wakeups.wake_ingest(*following)


@shared_task(name=wakeups.DISCARD)
def discard(keys: list[str], tenant_id: str) -> None:
    """Remove files that nothing points at; what is pointed at stays, whoever rang."""
    tenant = UUID(tenant_id)
    storage.delete(tenant, orphans.unreferenced(tenant, keys))


@shared_task(name="models_app.requeue_stale")
def requeue_stale() -> None:
    """Ring again for uploads whose ring or worker was lost, and tidy up after the worker. Scheduled every half minute."""
    orphans.remove_work_folders(ingestion.work_folder())
    ingestion.requeue_stale(known=turns.known())


@shared_task(name="models_app.remove_orphans")
def remove_orphans() -> None:
    """Remove stored files of every tenant that nothing points at any more. Scheduled once a day."""
    orphans.remove_everywhere()


@shared_task(name="models_app.encrypt_objects")
def encrypt_objects() -> None:
    """Encrypt some of the files that are older than encryption. Scheduled once an hour."""
    encrypting.run()


@shared_task(name=wakeups.REMOVE_JOB_FILES)
def remove_job_files(job_id: str, tenant_id: str) -> None:
    """Remove what an ended job left in the object store and nothing points at."""
    orphans.remove_of_job(UUID(job_id), UUID(tenant_id))


@shared_task(name="models_app.close_forgotten_slices")
def close_forgotten_slices() -> None:
    """Give back money that serving nodes which never came back still hold. Scheduled every ten minutes."""
    reservations.close_forgotten_everywhere()


@shared_task(name="models_app.fold_health")
def fold_health() -> None:
    """Fold old windows of traffic to hours and remove what is past its time. Scheduled once a day."""
    retention.tidy_everywhere()
