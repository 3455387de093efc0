"""Build ordered exports, one after the other, and remove them when their time is over. Runs in the ops worker."""

from __future__ import annotations

import tempfile
from datetime import timedelta
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F, Q

from models_app.exports import archive
from models_app.files.downloads import Download
from models_app.models.files import Stored
from models_app.object_store import storage
from tenants import exports
from tenants.access.actor import Actor
from tenants.clock import DatabaseNow, now
from tenants.errors import NotFound
from tenants.isolation.scoping import all_tenants, tenant_scope
from tenants.models import TenantExport
from tenants.notifications import notifications
from tenants.operators.platform_events import own_events

#: A worker that died is followed by another one after this time; an archive that fails is tried so often.
ABANDONED = timedelta(hours=2)
MOST_TRIES = 3
IN_MEMORY = 8 * 2**20
log = structlog.get_logger(__name__)


def run() -> int:
    """Build what is ordered and remove what is over; return how many archives were built (control role)."""
    _expire()
    built = 0
    while (found := _claim()) is not None:
        tenant_id, export_id = found
        try:
            _build(tenant_id, export_id)
            built += 1
        except Exception:
            # The row stays claimed: it is tried again after a while, and given up after some tries.
            log.exception("export.failed", tenant=str(tenant_id), export=str(export_id))
    return built


def download(export_id: UUID) -> Download:
    """Return the archive of an export of the open scope. Raises NotFound before it is ready and after its end."""
    row = TenantExport.objects.filter(id=export_id, state="ready", expires_at__gt=now()).first()
    if row is None:
        raise NotFound
    name = f"export-{row.ordered_at:%Y-%m-%d}.zip"
    return Download(_stored(row), name, "application/zip", ("export", row.id, name))


def _claim() -> tuple[UUID, UUID] | None:
    with transaction.atomic(), all_tenants("orders of every tenant wait here"):
        late = Q(state="running", started_at__lt=DatabaseNow() - ABANDONED)
        TenantExport.objects.filter(late, attempts__gte=MOST_TRIES).update(state="failed", finished_at=DatabaseNow())
        due = TenantExport.objects.filter(Q(state="queued") | late).order_by("ordered_at")
        row = due.select_for_update(skip_locked=True, no_key=True).first()
        if row is None:
            return None
        TenantExport.objects.filter(id=row.id).update(
            state="running", started_at=DatabaseNow(), attempts=F("attempts") + 1
        )
        return row.tenant_id, row.id


def _build(tenant_id: UUID, export_id: UUID) -> None:
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as file:
        rows = archive.write(tenant_id, file)
        stored = storage.put(tenant_id, storage.new_key(tenant_id, "exports", export_id), file)
    with tenant_scope(tenant_id):
        until = exports.finish(
            actor=Actor.system(tenant_id, "export"),
            export_id=export_id,
            name=stored.key,
            sha256=stored.sha256,
            size=stored.size,
            rows=rows,
        )
        notifications.notify(
            permission=exports.ORDERS,
            kind="export_ready",
            title="The export of your organisation is ready",
            body=f"It holds {rows} rows and can be downloaded until {until:%Y-%m-%d %H:%M} UTC.",
            path="exports/",
        )
        own_events.export_ready(tenant_id, export_id)


def _expire() -> None:
    with all_tenants("exports of every tenant expire"):
        over = list(TenantExport.objects.filter(state="ready", expires_at__lte=DatabaseNow())[:500])
    for row in over:
        storage.delete(row.tenant_id, [row.name])
        with tenant_scope(row.tenant_id):
            TenantExport.objects.filter(id=row.id).update(state="expired")


def _stored(row: TenantExport) -> Stored:
    return Stored(row.name, row.sha256, row.size, encrypted=True)
