"""Build ordered exports, one after the other, and remove them when their time is over. Runs in the ops worker.

A worker builds one at a time, whatever its number of threads: the others stay free for what does not wait.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from threading import Lock
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import Q

from models_app.exports import archive
from models_app.files.downloads import Download
from models_app.models.files import Stored
from models_app.object_store import storage
from tenants import exports
from tenants.access.actor import Actor
from tenants.clock import DatabaseNow, now
from tenants.errors import NotFound
from tenants.isolation.scoping import all_tenants, tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import TenantExport
from tenants.notifications import notifications
from tenants.operators.platform_events import own_events

#: A worker that died is followed by another one after this time; an archive that fails is tried so often.
ABANDONED = timedelta(hours=2)
MOST_TRIES = 3
EVERY_S = 60
_building = Lock()
log = structlog.get_logger(__name__)


def run() -> int:
    """Build what is ordered and remove what is over; return how many archives were built (control role).

    Nothing while another thread of this process builds. Raises SweepFailed once all that could be done is done.
    """
    built = 0
    with sweep("exports") as each:
        with each(step="expire"):
            _expire()
        if not _building.acquire(blocking=False):
            return 0
        try:
            with each(step="give up"):
                _give_up()
            built = _build_all()
        finally:
            _building.release()
    return built


def _build_all() -> int:
    built = 0
    while (found := _claim()) is not None:
        try:
            built += _build(found)
        except Exception:
            # The row stays claimed: it is tried again after a while, and given up after some tries.
            log.exception("export.failed", tenant=str(found.tenant_id), export=str(found.export_id))
    return built


def download(export_id: UUID) -> Download:
    """Return the archive of an export of the open scope. Raises NotFound before it is ready and after its end."""
    row = TenantExport.objects.filter(id=export_id, state="ready", expires_at__gt=now()).first()
    if row is None:
        raise NotFound
    name = f"export-{row.ordered_at:%Y-%m-%d}.zip"
    return Download(_stored(row), name, "application/zip", ("export", row.id, name))


@dataclass(frozen=True)
class Claimed:
    """An order that this worker builds. `attempt` fences it: who follows a worker that was silent has the next number."""

    tenant_id: UUID
    export_id: UUID
    attempt: int
    without_files: bool

    def go_on(self) -> None:
        """Note that this worker lives. Raises ExportEnded."""
        with tenant_scope(self.tenant_id):
            exports.go_on(export_id=self.export_id, attempt=self.attempt)


def _claim() -> Claimed | None:
    with transaction.atomic(), all_tenants("orders of every tenant wait here"):
        due = TenantExport.objects.filter(Q(state="queued") | _silent() & Q(attempts__lt=MOST_TRIES)).order_by(
            "ordered_at"
        )
        row = due.select_for_update(skip_locked=True, no_key=True).first()
        if row is None:
            return None
        attempt = row.attempts + 1
        TenantExport.objects.filter(id=row.id).update(state="running", started_at=DatabaseNow(), attempts=attempt)
        return Claimed(row.tenant_id, row.id, attempt, row.without_files)


def _silent() -> Q:
    return Q(state="running", started_at__lt=DatabaseNow() - ABANDONED)


def _give_up() -> None:
    with all_tenants("orders of every tenant wait here"):
        over = list(TenantExport.objects.filter(_silent(), attempts__gte=MOST_TRIES).order_by("started_at"))
    why = f"It could not be built in {MOST_TRIES} tries. Your administrator finds why in the log."
    with sweep("exports to give up") as each:
        for row in each.over(over):
            with each(tenant=row.tenant_id, export=row.id):
                _fail(row.tenant_id, row.id, why)


def _build(found: Claimed) -> bool:
    """Build the archive, store it and notify the owners; return False if it ended without one."""
    try:
        built = _stored_archive(found)
    except archive.FilesTooLarge as refused:
        _fail(found.tenant_id, found.export_id, refused.message)
        return False
    except exports.ExportEnded:
        log.info("export.ended", tenant=str(found.tenant_id), export=str(found.export_id))
        return False
    with tenant_scope(found.tenant_id):
        until = exports.finish(actor=Actor.system(found.tenant_id, "export"), export_id=found.export_id, built=built)
        lost = f" {built.missing} files are missing in the store; manifest.json names them." if built.missing else ""
        notifications.notify(
            permission=exports.ORDERS,
            kind="export_ready",
            title="The export of your organisation is ready",
            body=f"It holds {built.rows} rows and {built.files} stored files, and can be downloaded until "
            f"{until:%Y-%m-%d %H:%M} UTC.{lost}",
            path="exports/",
        )
        own_events.export_ready(found.tenant_id, found.export_id)
    return True


def _stored_archive(found: Claimed) -> exports.Built:
    """Write the archive to an unnamed file, which goes with this process, and store it encrypted."""
    beat = Beat(found.go_on)
    with tempfile.TemporaryFile() as file:
        written = archive.write(found.tenant_id, file, without_files=found.without_files, go_on=beat)
        found.go_on()
        stored = storage.put(found.tenant_id, storage.new_key(found.tenant_id, "exports", found.export_id), file)
    return exports.Built(
        name=stored.key,
        sha256=stored.sha256,
        size=stored.size,
        rows=written.rows,
        files=written.stored,
        missing=len(written.missing),
    )


def _fail(tenant_id: UUID, export_id: UUID, why: str) -> None:
    with tenant_scope(tenant_id), suppress(exports.ExportEnded):
        exports.end(actor=Actor.system(tenant_id, "export"), export_id=export_id, reason=why)
        notifications.notify(
            permission=exports.ORDERS,
            kind="export_failed",
            title="The export of your organisation has failed",
            body=why,
            path="exports/",
        )


class Beat:
    """Calls `act` at most once in `EVERY_S` seconds."""

    def __init__(self, act: Callable[[], None]) -> None:
        self._act, self._last = act, float("-inf")

    def __call__(self) -> None:
        """Call it if it is time."""
        if time.monotonic() - self._last >= EVERY_S:
            self._act()
            self._last = time.monotonic()


def _expire() -> None:
    with all_tenants("exports of every tenant expire"):
        over = list(TenantExport.objects.filter(state="ready", expires_at__lte=DatabaseNow()).order_by("expires_at"))
    with sweep("exports to expire") as each:
        for row in each.over(over):
            with each(tenant=row.tenant_id, export=row.id):
                storage.delete(row.tenant_id, [row.name] if row.name else [])
                with tenant_scope(row.tenant_id):
                    TenantExport.objects.filter(id=row.id).update(state="expired")


def _stored(row: TenantExport) -> Stored:
    return Stored(row.name, row.sha256, row.size, encrypted=True)
