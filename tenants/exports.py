"""Orders of an archive of everything of a tenant. The ops worker builds it; an app above knows how."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.db import IntegrityError, transaction

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.clock import now
from tenants.errors import Conflict
from tenants.models import TenantExport

ORDERED = AuditAction("tenants.export.ordered", while_closing=True)
FINISHED = AuditAction("tenants.export.finished", while_closing=True)
ENDED = AuditAction("tenants.export.ended", while_closing=True)
KEPT_FOR = timedelta(days=7)
ORDERS = "tenant.export"


class ExportRuns(Conflict):
    """An export of this organisation is being built. Wait until it has ended."""

    code = "export_runs"


class ExportEnded(Conflict):
    """This export was ended, or is built already."""

    code = "export_ended"


@dataclass(frozen=True, kw_only=True)
class ExportRow:
    """One order; `expires_at`, `size` (bytes) and `sha256` are set once the archive is ready.

    `files`: the stored files in it, `missing`: those that the store no longer has. `message`: why it failed.
    """

    id: UUID
    state: str
    ordered_by: str
    reason: str
    ordered_at: datetime
    finished_at: datetime | None
    expires_at: datetime | None
    rows: int
    files: int
    missing: int
    size: int
    sha256: str
    without_files: bool
    message: str


@dataclass(frozen=True, kw_only=True)
class Built:
    """A stored archive: its key, what it holds, its checksum and size (bytes)."""

    name: str
    sha256: str
    size: int
    rows: int
    files: int = 0
    missing: int = 0


@operation(ORDERED)
def order(*, actor: Actor, reason: str = "", without_files: bool = False) -> TenantExport:
    """Order an archive of everything of the actor's tenant. Raises PermissionDenied, ExportRuns.

    `without_files`: of its tables alone, without stored files.
    """
    actor.require(ORDERS)
    try:
        with transaction.atomic():
            row = TenantExport.objects.create(ordered_by=actor.label[:254], reason=reason, without_files=without_files)
    except IntegrityError as error:
        raise ExportRuns from error
    changes = {"without_files": [None, True]} if without_files else {}
    record(ORDERED, actor=actor, target=("export", row.id, "everything"), changes=changes, reason=reason)
    return row


def go_on(*, export_id: UUID, attempt: int) -> None:
    """Note that the worker of an attempt lives, in the open scope. Raises ExportEnded once it works in vain."""
    own = TenantExport.objects.filter(id=export_id, state="running", attempts=attempt)
    if not own.update(started_at=now()):
        raise ExportEnded


@operation(FINISHED)
def finish(*, actor: Actor, export_id: UUID, built: Built) -> datetime:
    """Note that the archive is stored; return until when it is kept. Raises ExportEnded."""
    expires_at = now() + KEPT_FOR
    running = TenantExport.objects.filter(id=export_id, state="running")
    if not running.update(state="ready", finished_at=now(), expires_at=expires_at, **asdict(built)):
        raise ExportEnded
    changes = {
        "rows": [None, built.rows],
        "files": [None, built.files],
        "bytes": [None, built.size],
        "sha256": [None, built.sha256],
    }
    record(FINISHED, actor=actor, target=("export", export_id, "everything"), changes=changes)
    return expires_at


@operation(ENDED)
def end(*, actor: Actor, export_id: UUID, reason: str) -> None:
    """End an order whose archive is not built yet; `reason` is shown with it. Raises ExportEnded."""
    waiting = TenantExport.objects.filter(id=export_id, state__in=("queued", "running"))
    if not waiting.update(state="failed", finished_at=now(), message=reason[:400]):
        raise ExportEnded
    record(ENDED, actor=actor, target=("export", export_id, "everything"), reason=reason)


def exports(*, before: UUID | None = None, limit: int = 50) -> list[ExportRow]:
    """Return up to `limit` + 1 orders of the open scope, newest first, older than `before`."""
    rows = TenantExport.objects.order_by("-id")
    if before is not None:
        rows = rows.filter(id__lt=before)
    names: Sequence[str] = list(ExportRow.__dataclass_fields__)
    return [ExportRow(**row) for row in rows.values(*names)[: limit + 1]]
