"""Find and remove orphans: stored files without a row, and work folders of killed workers.

Files lose their row by lost uploads, fenced results, or checkpoints of ended jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from compute.models import FINAL_STATES, Job
from compute.sandbox import workdirs
from models_app.batch.batch import kept_keys
from models_app.models import DatasetVersion, ModelVersion
from models_app.object_store import storage
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import Tenant, TenantExport

YOUNG = timedelta(days=1)
"""A file may exist this long before its row is committed."""

ABANDONED = timedelta(hours=1)
"""No ingestion takes this long, its retry included."""


def unreferenced(tenant_id: UUID, keys: Sequence[str]) -> list[str]:
    """Return those of `keys` that no dataset, model, result or checkpoint of a live job refers to."""
    with tenant_scope(tenant_id):
        used = set(DatasetVersion.objects.filter(source_key__in=keys).values_list("source_key", flat=True))
        used |= set(DatasetVersion.objects.filter(data_key__in=keys).values_list("data_key", flat=True))
        used |= set(ModelVersion.objects.filter(artefact_key__in=keys).values_list("artefact_key", flat=True))
        used |= set(ModelVersion.objects.filter(signature_key__in=keys).values_list("signature_key", flat=True))
        used |= kept_keys(_jobs_of(keys))
        used |= set(TenantExport.objects.filter(name__in=keys, state="ready").values_list("name", flat=True))
        jobs = Job.objects.filter(id__in=_jobs_of(keys)).exclude(state__in=FINAL_STATES)
        for pointer in jobs.values_list("checkpoint", flat=True):
            used |= {file["key"] for file in (pointer or {}).get("files", [])}
    return [key for key in keys if key not in used]


def remove(tenant_id: UUID, *, older_than: timedelta = YOUNG, batch: int = 500) -> int:
    """Remove a tenant's old unreferenced files; return how many. Raises StorageUnavailable."""
    return _sweep(tenant_id, storage.listing(tenant_id), older_than, batch)


def remove_everywhere() -> int:
    """Remove old unreferenced files of every tenant; return how many. Raises StorageUnavailable, SweepFailed."""
    removed = 0
    with sweep("unreferenced files") as each:
        for tenant_id in each.over(Tenant.objects.order_by("id").values_list("id", flat=True)):
            with each(tenant=tenant_id):
                removed += remove(tenant_id)
    return removed


def remove_of_job(job_id: UUID, tenant_id: UUID) -> int:
    """Remove leftover files of an ended job; return how many. No-op while the job is not final."""
    with tenant_scope(tenant_id):
        if not Job.objects.filter(id=job_id, state__in=FINAL_STATES).exists():
            return 0
    return _sweep(tenant_id, storage.listing(tenant_id, "j", job_id), timedelta(0), 500)


def remove_work_folders(home: Path, *, older_than: timedelta = ABANDONED) -> int:
    """Remove work folders in `home` untouched for `older_than`; return how many."""
    limit = (datetime.now(UTC) - older_than).timestamp()
    abandoned = []
    for folder in home.iterdir() if home.exists() else ():
        with suppress(FileNotFoundError):  # its worker has just removed it
            if folder.lstat().st_mtime < limit:
                abandoned.append(folder)
    for folder in abandoned:
        workdirs.remove(folder)
    return len(abandoned)


def _sweep(tenant_id: UUID, found: Iterable[storage.Listed], older_than: timedelta, batch: int) -> int:
    # Object times come from the store's clock; this process's clock is close enough for a limit of a day.
    limit = datetime.now(UTC) - older_than
    pending: list[str] = []
    removed = 0
    for item in found:
        if item.written_at <= limit:
            pending.append(item.key)
        if len(pending) >= batch:
            removed += _remove(tenant_id, pending)
            pending = []
    return removed + _remove(tenant_id, pending)


def _remove(tenant_id: UUID, keys: list[str]) -> int:
    lonely = unreferenced(tenant_id, keys) if keys else []
    storage.delete(tenant_id, lonely)
    return len(lonely)


def _jobs_of(keys: Sequence[str]) -> set[UUID]:
    """Return the jobs named in keys of the form t/{tenant}/j/{job}/{token}/{uuid}."""
    found = set()
    for key in keys:
        parts = key.split("/")
        if len(parts) > 4 and parts[2] == "j":
            found.add(UUID(parts[3]))
    return found
