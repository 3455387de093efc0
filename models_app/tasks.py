"""Celery tasks of this app, run by the ops worker on wake-ups."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from models_app import wakeups
from models_app.datasets import ingestion
from models_app.datasets.ingest_queue import turns
from models_app.endpoints import reservations
from models_app.erasure import erasing
from models_app.exports import exports
from models_app.files import encrypting, orphans
from models_app.monitoring import retention
from models_app.object_store import storage
from models_app.pipelines import advancing
from models_app.schedules import firing


@shared_task(name=wakeups.INGEST)
def ingest(version_id: str, tenant_id: str) -> None:
    """Ingest one dataset version, or queue it without holding a thread."""
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
    """Remove unreferenced files; referenced files stay, whatever the wake-up names."""
    tenant = UUID(tenant_id)
    storage.delete(tenant, orphans.unreferenced(tenant, keys))


@shared_task(name="models_app.requeue_stale")
def requeue_stale() -> None:
    """Wake uploads whose wake-up or worker was lost, and clean up after the worker. Scheduled every half minute."""
    orphans.remove_work_folders(ingestion.work_folder())
    ingestion.requeue_stale(known=turns.known())


@shared_task(name="models_app.remove_orphans")
def remove_orphans() -> None:
    """Remove unreferenced files of every tenant. Scheduled once a day."""
    orphans.remove_everywhere()


@shared_task(name="models_app.exports")
def build_exports() -> None:
    """Build the exports that are ordered, and remove those whose time is over. Scheduled every half minute."""
    exports.run()


@shared_task(name="models_app.erase_tenants")
def erase_tenants() -> None:
    """Erase closed tenants whose erasure operators ordered. Scheduled every five minutes."""
    erasing.run()


@shared_task(name="models_app.encrypt_objects")
def encrypt_objects() -> None:
    """Encrypt some of the files stored before encryption. Scheduled once an hour."""
    encrypting.run()


@shared_task(name=wakeups.REMOVE_JOB_FILES)
def remove_job_files(job_id: str, tenant_id: str) -> None:
    """Remove unreferenced files of an ended job from the object store, and advance the pipeline that it was a step of."""
    try:
        orphans.remove_of_job(UUID(job_id), UUID(tenant_id))
    finally:
        advancing.after_job(UUID(tenant_id), UUID(job_id))


@shared_task(name="models_app.advance_pipelines")
def advance_pipelines() -> None:
    """Advance the open runs of pipelines. Scheduled every quarter minute."""
    advancing.advance_all()


@shared_task(name="models_app.fire_schedules")
def fire_schedules() -> None:
    """Launch what is due by schedule. Scheduled every ten seconds."""
    firing.fire_all()


@shared_task(name="models_app.close_forgotten_slices")
def close_forgotten_slices() -> None:
    """Release money still held by serving nodes that never came back. Scheduled every ten minutes."""
    reservations.close_forgotten_everywhere()


@shared_task(name="models_app.fold_health")
def fold_health() -> None:
    """Fold old windows of traffic into hours and remove expired rows. Scheduled once a day."""
    retention.purge_everywhere()
