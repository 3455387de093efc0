"""Ingest a dataset version on the ops worker: claim it, run the sandboxed child, complete by compare-and-set.

Every write carries the token of its claim, so a worker that lost its claim changes nothing. Each tenant has one file
read at a time, across all workers. The reader's session holds an advisory lock, so a lost worker blocks nobody.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from compute.kinds import BadOutput
from compute.sandbox import workdirs
from compute.sandbox.protocol import Fault
from models_app import wakeups
from models_app.datasets.ingest_child import ChildCrashed, ChildKilled, run_child
from models_app.events import DatasetVersionReady
from models_app.models import DatasetVersion, IngestState
from models_app.object_store import storage
from models_app.registry import artefacts
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.events.events import publish
from tenants.isolation import locks
from tenants.isolation.scoping import all_tenants, tenant_scope

DATASET_READY = AuditAction("models_app.dataset_version.ready")
DATASET_FAILED = AuditAction("models_app.dataset_version.failed")

CLAIM_S = 60
UNCLAIMED_S = 30
MAX_TRIES = 5
GIVEN_UP = "The file could not be read because of a platform failure. Upload it again; if it fails again, contact your administrator."
CRASHED = "The reader failed on this file twice. Save it in the other format, CSV or Parquet, and upload that, or contact your administrator, who can find the cause in the log."

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Claimed:
    """A version that this process is ingesting."""

    version_id: UUID
    dataset_id: UUID
    tenant_id: UUID
    token: int
    tries: int
    source: storage.Stored
    target: str
    filename: str = ""
    choices: dict[str, Any] = field(default_factory=dict)
    writing: dict[str, Any] = field(default_factory=dict)


CRASHES = (ChildCrashed, BadOutput)
OUR_FAULT = (
    storage.StorageUnavailable,
    storage.ObjectMissing,
    storage.ChecksumMismatch,
    ChildKilled,
    OSError,
)


def ingest(version_id: UUID, tenant_id: UUID) -> None:
    """Ingest a version. No-op if it is not waiting or another file of the tenant is being read.

    A fault of the file ends in state `failed`, as does a file that crashes the reader twice. The sweep retries other
    failures, up to MAX_TRIES in total.
    """
    with locks.alone(reader_of(tenant_id)) as alone:
        mine = claim(version_id, tenant_id) if alone else None
        if mine is not None:
            _ingest(mine, Actor.system(tenant_id, "ingest"))


def _ingest(mine: Claimed, actor: Actor) -> None:
    if mine.tries > MAX_TRIES:  # the worker itself died in the last try
        fail(actor=actor, mine=mine, code="ingest_failed", message=GIVEN_UP)
        return
    workdir = (work_folder() / str(uuid4())).absolute()
    said = {"version": str(mine.version_id), "attempt": mine.token}
    try:
        try:
            found = _read(mine, workdir)
        except CRASHES as error:
            log.warning("ingest.crashed", **said, error=str(error))
            found = _read(mine, workdir)  # a transient fault? another try would show nothing new
        if isinstance(found, Fault):
            fail(actor=actor, mine=mine, code=found.code, message=found.message)
            return
        data, result, profile = found
        key = storage.new_key(mine.tenant_id, "d", mine.dataset_id, mine.version_id, mine.token)
        stored = storage.put(mine.tenant_id, key, data, content_type="application/vnd.apache.parquet")
        if not complete(actor=actor, mine=mine, data=stored, result=result, profile=profile):
            wakeups.wake_discard([key], mine.tenant_id)
    except CRASHES as error:
        log.exception("ingest.crashed_again", **said, error=str(error))
        fail(actor=actor, mine=mine, code="ingest_crashed", message=CRASHED)
    except OUR_FAULT as error:
        log.warning("ingest.not_done", **said, error=str(error))
        if isinstance(error, storage.StorageUnavailable) or workdirs.disk_full(error):
            give_back(mine)
        elif mine.tries >= MAX_TRIES:
            fail(actor=actor, mine=mine, code="ingest_failed", message=GIVEN_UP)
    finally:
        workdirs.remove(workdir)


def _read(mine: Claimed, workdir: Path) -> Fault | tuple[Path, dict[str, Any], dict[str, Any]]:
    """Return the fault of the file, or (its canonical Parquet, result, profile)."""
    workdirs.make(workdir)
    storage.fetch(mine.tenant_id, mine.source, workdir / "in" / "source")
    fault = run_child(workdir, target=mine.target, filename=mine.filename, choices=mine.choices, writing=mine.writing)
    if fault is not None:
        return fault
    out = workdirs.take_output(workdir) / "out"
    return out / "data.parquet", artefacts.read_json(out / "result.json"), artefacts.read_json(out / "profile.json")


def work_folder() -> Path:
    """Return the parent folder of ingest work folders on this host."""
    return Path(settings.EXCHEQUER.home / "work" / "ingest")


def reader_of(tenant_id: UUID) -> str:
    """Return the name of the lock held while a file of this tenant is read."""
    return f"models_app.ingest {tenant_id}"


def claim(version_id: UUID, tenant_id: UUID) -> Claimed | None:
    """Claim a waiting version by compare-and-set; None if it is claimed, done or gone."""
    with tenant_scope(tenant_id):
        taken = DatasetVersion.objects.filter(_free(), id=version_id, state=IngestState.INGESTING).update(
            token=F("token") + 1, tries=F("tries") + 1, claimed_at=DatabaseNow()
        )
        if not taken:
            return None
        row = DatasetVersion.objects.defer("columns", "warnings", "profile").get(id=version_id)
        return Claimed(
            version_id,
            row.dataset_id,
            tenant_id,
            row.token,
            row.tries,
            row.source,
            row.target,
            row.filename,
            row.choices,
            row.writing,
        )


def give_back(mine: Claimed) -> None:
    """Return the version to the next sweep. An unreachable store or a full disk costs no try, however long it lasts."""
    with tenant_scope(mine.tenant_id):
        DatasetVersion.objects.filter(id=mine.version_id, token=mine.token, state=IngestState.INGESTING).update(
            claimed_at=None, tries=F("tries") - 1
        )


@operation(DATASET_READY)
def complete(
    *, actor: Actor, mine: Claimed, data: storage.Stored, result: dict[str, Any], profile: dict[str, Any]
) -> bool:
    """Make a version ready if this claim still holds; return whether it did."""
    row = _held(mine)
    if row is None:
        unchanged("another try was faster")
        return False
    row.state, row.ready_at = IngestState.READY, DatabaseNow()
    row.data_key, row.data_sha256, row.data_size, row.data_encrypted = data.key, data.sha256, data.size, data.encrypted
    row.rows, row.columns, row.warnings, row.profile = (
        int(result["rows"]),
        result["columns"],
        result["warnings"],
        profile,
    )
    row.reading = result.get("reading", {})
    row.save()
    record(
        DATASET_READY,
        actor=actor,
        target=("datasetversion", row.id, str(row)),
        changes={"state": ["ingesting", "ready"], "rows": [None, row.rows]},
    )
    publish(DatasetVersionReady(tenant_id=mine.tenant_id, dataset_id=mine.dataset_id, version_id=row.id))
    return True


@operation(DATASET_FAILED)
def fail(*, actor: Actor, mine: Claimed, code: str, message: str) -> None:
    """Record why a version cannot be used, if this claim still holds."""
    row = _held(mine)
    if row is None:
        unchanged("another try was faster")
        return
    row.state, row.code, row.message = IngestState.FAILED, code[:80], message[:2000]
    row.save()
    record(
        DATASET_FAILED,
        actor=actor,
        target=("datasetversion", row.id, str(row)),
        changes={"state": ["ingesting", "failed"], "code": [None, code]},
    )


def requeue_stale(wake: Any = wakeups.wake_ingest, limit: int = 100, known: Collection[UUID] = ()) -> int:
    """Wake versions whose wake-up or worker was lost; return how many. Needs the control role.

    Versions that merely wait are skipped: those known to this worker, and those of a tenant with a file being read.
    """
    with transaction.atomic(), all_tenants("stale uploads of every tenant are rung again"):
        waiting = DatasetVersion.objects.filter(state=IngestState.INGESTING)
        busy = waiting.exclude(_free()).values("tenant_id")
        stale = list(
            waiting.filter(_free(), created_at__lt=DatabaseNow() - timedelta(seconds=UNCLAIMED_S))
            .exclude(tenant_id__in=busy)
            .exclude(id__in=known)
            .order_by("id")
            .values_list("id", "tenant_id")[:limit]
        )
    for version_id, tenant_id in stale:
        wake(version_id, tenant_id)
    return len(stale)


def _free() -> Q:
    return Q(claimed_at__isnull=True) | Q(claimed_at__lt=DatabaseNow() - timedelta(seconds=CLAIM_S))


def _held(mine: Claimed) -> DatasetVersion | None:
    return (
        DatasetVersion.objects.select_for_update(no_key=True)
        .filter(id=mine.version_id, token=mine.token, state=IngestState.INGESTING)
        .first()
    )
