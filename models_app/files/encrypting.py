"""Encrypt files stored before encryption was introduced, one by one, while the product runs.

Each file is overwritten under its own key, then its row is updated. A process killed in between leaves a row marked
plain for an encrypted object. `storage` can read that, and the next run corrects the row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any
from uuid import UUID

import structlog

from compute.models import FINAL_STATES, Job
from models_app.batch import batch
from models_app.files import orphans
from models_app.models import DatasetVersion, ModelVersion
from models_app.models.files import Stored
from models_app.object_store import storage
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant

BATCH = 500
"""Files of one run of the ops worker."""

#: Every column that names a file: the flag beside it, and its description from the row.
COLUMNS: tuple[tuple[Any, str, str, Callable[[Any], Stored]], ...] = (
    (DatasetVersion, "source_key", "source_encrypted", lambda row: row.source),
    (DatasetVersion, "data_key", "data_encrypted", lambda row: row.table),
    (ModelVersion, "artefact_key", "artefact_encrypted", lambda row: row.weights),
    (ModelVersion, "signature_key", "signature_encrypted", lambda row: row.signature_file),
)

log = structlog.get_logger(__name__)


def run(limit: int = BATCH) -> int:
    """Encrypt at most `limit` files of all tenants; return how many. Raises StorageUnavailable.

    Damaged or missing files are skipped and logged; their readers get the error.
    """
    done = 0
    for tenant_id in Tenant.objects.order_by("id").values_list("id", flat=True):
        for one in _plain(tenant_id):
            if done >= limit:
                return done
            try:
                one()
            except (storage.ChecksumMismatch, storage.ObjectMissing, storage.ForeignKeyPath) as error:
                log.warning("object.not_encrypted", tenant=str(tenant_id), error=str(error))
            else:
                done += 1
    return done


def waiting() -> int:
    """Return the number of stored files that are not encrypted, over all tenants."""
    tenants = Tenant.objects.values_list("id", flat=True)
    return sum(1 for tenant_id in tenants for _ in _plain(tenant_id))


def opens(tenant_id: UUID) -> int:
    """Decrypt the smallest file of a tenant to check its key; return the number of candidates, 0 or 1.

    Raises ChecksumMismatch, ObjectMissing, KeyMissing, StorageUnavailable.
    """
    with tenant_scope(tenant_id):
        files = [
            describe(row)
            for model, key, flag, describe in COLUMNS
            for row in model.objects.filter(**{flag: True}).exclude(**{key: ""})[:10]
        ]
    if not files:
        return 0
    for _ in storage.stream(tenant_id, min(files, key=lambda file: file.size)):
        pass
    return 1


def _plain(tenant_id: UUID) -> Iterator[Callable[[], None]]:
    """Yield, for each plain file of a tenant, a function that encrypts it."""
    for model, key, flag, describe in COLUMNS:
        with tenant_scope(tenant_id):
            rows = list(model.objects.filter(**{flag: False}).exclude(**{key: ""}).order_by("id"))
        for row in rows:
            yield partial(_of_row, tenant_id, row, model, key, flag, describe(row))
    for field, jobs in (("result", _with_results), ("checkpoint", _with_checkpoints)):
        with tenant_scope(tenant_id):
            found = [(job.id, getattr(job, field)) for job in jobs().only("id", field)]
        for job_id, pointer in found:
            if any(not file.get("encrypted") for file in _files(pointer)):
                yield partial(_of_job, tenant_id, job_id, field, pointer)


def _of_row(tenant_id: UUID, row: Any, model: Any, key: str, flag: str, stored: Stored) -> None:
    storage.encrypt(tenant_id, stored)
    with tenant_scope(tenant_id):
        updated = model.objects.filter(**{key: stored.key}).update(
            **{flag: True}
        )  # versions of one upload share its file
    if not updated:
        _discard(tenant_id, [stored.key])


def _of_job(tenant_id: UUID, job_id: UUID, field: str, pointer: dict[str, Any]) -> None:
    """Encrypt the files that a job's result or checkpoint points at, unless the pointer changed meanwhile."""
    before = {**pointer}
    encrypted = {}
    for file in _files(pointer):
        if not file.get("encrypted"):
            storage.encrypt(tenant_id, Stored(file["key"], file["sha256"], file["size"]))
        encrypted[file["key"]] = {**file, "encrypted": True}
    files = pointer["files"]
    new = (
        {name: encrypted[file["key"]] for name, file in files.items()}
        if isinstance(files, dict)
        else list(encrypted.values())
    )
    with tenant_scope(tenant_id):
        kept = Job.objects.filter(id=job_id, **{field: before}).update(**{field: {**pointer, "files": new}})
    if not kept:
        _discard(tenant_id, list(encrypted))


def _discard(tenant_id: UUID, keys: list[str]) -> None:
    """Remove objects re-created by encrypting while their row was deleted. Files that a row names stay."""
    storage.delete(tenant_id, orphans.unreferenced(tenant_id, keys))


def _files(pointer: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the files of a result (by format) or of a checkpoint (a list)."""
    files = (pointer or {}).get("files", [])
    return list(files.values()) if isinstance(files, dict) else list(files)


def _with_results() -> Any:
    return Job.objects.filter(kind=batch.KIND, result__has_key="files").order_by("id")


def _with_checkpoints() -> Any:
    return Job.objects.filter(checkpoint__has_key="files").exclude(state__in=FINAL_STATES).order_by("id")
