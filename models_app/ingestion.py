"""Ingest a dataset version on the ops worker: claim it, run the sandboxed child, complete by compare-and-set.

Every write carries the token of its claim; a worker that was overtaken changes nothing.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import structlog
from django.conf import settings
from django.db import transaction
from django.db.models import F, Q

from compute import workdirs
from compute.kinds import BadOutput
from compute.process import Child, Slot
from compute.protocol import Fault
from models_app import artefacts, doorbells, storage
from models_app.events import DatasetVersionReady
from models_app.models import DatasetVersion, IngestState
from models_app.runner.protocol import EXIT_INPUT, EXIT_OK
from tenants.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.events import publish
from tenants.scoping import all_tenants, tenant_scope

DATASET_READY = AuditAction("models_app.dataset_version.ready")
DATASET_FAILED = AuditAction("models_app.dataset_version.failed")

ENTRYPOINT = Path(__file__).with_name("runner") / "main.py"
INGEST_S = 120.0
CLAIM_S = 180
UNHEARD_S = 30
MAX_TRIES = 5
GIVEN_UP = "The file could not be read on our side. Upload it again; if it fails again, ask your operator."
MEMORY_BYTES = 1024**3

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Claimed:
    """A version that this process now ingests."""

    version_id: UUID
    dataset_id: UUID
    tenant_id: UUID
    token: int
    tries: int
    source: storage.Stored
    target: str
    filename: str = ""


class ChildFailed(RuntimeError):
    """The child ended in a way that is not the file's fault."""


OUR_FAULT = (
    storage.StorageUnavailable,
    storage.ObjectMissing,
    storage.ChecksumMismatch,
    workdirs.NotPlain,
    BadOutput,
    ChildFailed,
    OSError,
)


def ingest(version_id: UUID, tenant_id: UUID) -> None:
    """Ingest a version if it still waits for it; a doubled ring does nothing.

    What the file does wrong ends as state `failed`; what we do wrong is tried again by the sweep, at most
    MAX_TRIES times in all.
    """
    mine = claim(version_id, tenant_id)
    if mine is None:
        return
    actor = Actor.system(tenant_id, "ingest")
    if mine.tries > MAX_TRIES:  # the worker itself went down with the last of them
        fail(actor=actor, mine=mine, code="ingest_failed", message=GIVEN_UP)
        return
    workdir = (settings.EXCHEQUER.home / "work" / "ingest" / str(uuid4())).absolute()
    try:
        workdirs.make(workdir)
        storage.fetch(tenant_id, mine.source, workdir / "in" / "source")
        fault = run_child(mine, workdir)
        if fault is not None:
            fail(actor=actor, mine=mine, code=fault.code, message=fault.message)
            return
        out = workdirs.take_output(workdir) / "out"
        result, profile = artefacts.read_json(out / "result.json"), artefacts.read_json(out / "profile.json")
        key = storage.new_key(tenant_id, "d", mine.dataset_id, mine.version_id, mine.token)
        data = storage.put(tenant_id, key, out / "data.parquet", content_type="application/vnd.apache.parquet")
        if not complete(actor=actor, mine=mine, data=data, result=result, profile=profile):
            doorbells.ring_discard([key], tenant_id)
    except OUR_FAULT as error:
        log.warning("ingest.not_done", version=str(version_id), attempt=mine.token, error=str(error))
        if isinstance(error, storage.StorageUnavailable) or workdirs.disk_full(error):
            give_back(mine)
        elif mine.tries >= MAX_TRIES:
            fail(actor=actor, mine=mine, code="ingest_failed", message=GIVEN_UP)
    finally:
        workdirs.remove(workdir)


def claim(version_id: UUID, tenant_id: UUID) -> Claimed | None:
    """Take a waiting version by compare-and-set; None when it is taken, done or gone."""
    with tenant_scope(tenant_id):
        taken = DatasetVersion.objects.filter(_free(), id=version_id, state=IngestState.INGESTING).update(
            token=F("token") + 1, tries=F("tries") + 1, claimed_at=DatabaseNow()
        )
        if not taken:
            return None
        row = DatasetVersion.objects.only(
            "dataset_id", "token", "tries", "source_key", "sha256", "size", "target", "filename"
        ).get(id=version_id)
        source = storage.Stored(row.source_key, row.sha256, row.size)
        return Claimed(version_id, row.dataset_id, tenant_id, row.token, row.tries, source, row.target, row.filename)


def give_back(mine: Claimed) -> None:
    """Let the next sweep try again: a store that is away or a full disk counts as no try, however long it lasts."""
    with tenant_scope(mine.tenant_id):
        DatasetVersion.objects.filter(id=mine.version_id, token=mine.token, state=IngestState.INGESTING).update(
            claimed_at=None, tries=F("tries") - 1
        )


def run_child(mine: Claimed, workdir: Path) -> Fault | None:
    """Run the sandboxed child to its end; return what is wrong with the file, None when all is well.

    Raises ChildFailed when the child crashed, or was killed for time; a file that takes too much memory or time
    in every way is the file's fault.
    """
    attempt = str(uuid4())
    payload = {
        "attempt": attempt,
        "task": "ingest",
        "inputs": {"target": mine.target or None, "named_parquet": mine.filename.lower().endswith(".parquet")},
        "device": {"kind": "cpu"},
        "threads": 1,
        "limits": {},
    }
    slot = Slot(kind="cpu", uuid="ops", index=0, threads=1, memory_bytes=MEMORY_BYTES)
    child = Child(
        entrypoint=ENTRYPOINT, attempt=attempt, workdir=workdir, slot=slot, payload=payload,
        sandbox_required=settings.EXCHEQUER.sandbox == "required",
    )  # fmt: skip
    stop_at = time.monotonic() + INGEST_S
    try:
        while not child.exited.wait(0.05):
            if _resident_bytes(child.group) > MEMORY_BYTES:
                return Fault(
                    "too_big_unpacked", "The file needs more memory than an upload may use. Take fewer rows or columns."
                )
            if time.monotonic() > stop_at:
                return Fault(
                    "too_slow",
                    f"The file could not be read within {INGEST_S:.0f} seconds. Take fewer rows or columns, or use Parquet.",
                )
    finally:
        child.kill()
    faults = [said for said in child.said if isinstance(said, Fault)]
    if child.exit_code == EXIT_INPUT and faults:
        return faults[-1]
    if child.exit_code != EXIT_OK:
        raise ChildFailed(f"exit code {child.exit_code}: {' | '.join(list(child.lines)[-5:])}")
    return None


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
    row.data_key, row.data_sha256, row.data_size = data.key, data.sha256, data.size
    row.rows, row.columns, row.warnings, row.profile = (
        int(result["rows"]),
        result["columns"],
        result["warnings"],
        profile,
    )
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
    """Say why a version cannot be used, if this claim still holds."""
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


def requeue_stale(ring: Any = doorbells.ring_ingest, limit: int = 100) -> int:
    """Ring again for versions whose ring or worker was lost; return how many. Needs the control role."""
    with transaction.atomic(), all_tenants("stale uploads of every tenant are rung again"):
        waiting = list(
            DatasetVersion.objects.filter(
                _free(), state=IngestState.INGESTING, created_at__lt=DatabaseNow() - timedelta(seconds=UNHEARD_S)
            )
            .order_by("id")
            .values_list("id", "tenant_id")[:limit]
        )
    for version_id, tenant_id in waiting:
        ring(version_id, tenant_id)
    return len(waiting)


def _free() -> Q:
    return Q(claimed_at__isnull=True) | Q(claimed_at__lt=DatabaseNow() - timedelta(seconds=CLAIM_S))


def _held(mine: Claimed) -> DatasetVersion | None:
    return (
        DatasetVersion.objects.select_for_update(no_key=True)
        .filter(id=mine.version_id, token=mine.token, state=IngestState.INGESTING)
        .first()
    )


def _resident_bytes(process: int) -> int:
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
