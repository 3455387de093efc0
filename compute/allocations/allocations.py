"""Long allocations: a subject (such as `endpoint:<id>`) holds a device slot until it releases it.

Unlike an attempt, an allocation outlives the worker that serves it. A restarted worker adopts its node's slots at once
(`renew`); the controller moves those of a silent node to another one (`scheduling/slots.py`). Each change notifies
listeners on `exchequer_slot`.

Locks: the owner's own row, allocation, money (`slot_billing.py`), device, quota, audit chain last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from django.conf import settings
from django.db import connection

from compute import holding
from compute.allocations import slot_billing
from compute.models import SERVING, Allocation, Node, SlotState
from tenants import quotas
from tenants.access.actor import Actor
from tenants.audit import AuditAction, record
from tenants.clock import DatabaseNow
from tenants.errors import Conflict
from tenants.isolation.scoping import current_tenant_id, tenant_scope
from tenants.rows import rows_as

__all__ = ["CHANNEL", "QUOTA", "SERVING", "SlotRow", "has_slot", "mine", "release", "renew", "request", "slots", "wake"]

SLOT_REQUESTED = AuditAction("compute.slot.requested")
SLOT_RELEASED = AuditAction("compute.slot.released")
CHANNEL = "exchequer_slot"
QUOTA = f"devices:{SERVING}"
WAITING_REASON = "Waiting for a free serving slot."
UNPAID_REASON = "The budget has no headroom for its next 15 minutes."


class SlotRequested(Conflict):
    """This already has a slot, or waits for one."""

    code = "slot_requested"


@dataclass(frozen=True, kw_only=True)
class SlotRow:
    """State of one subject's allocation. `device_name` and `node` are empty while it waits."""

    id: UUID
    subject: str
    state: str
    token: int
    device_name: str
    node: str
    reason: str
    requested_at: datetime
    assigned_at: datetime | None

    @property
    def waits(self) -> bool:
        """Whether it still waits for a free slot."""
        return self.state == SlotState.WAITING

    @property
    def unpaid(self) -> bool:
        """Whether it ended because its budget had no headroom for it."""
        return self.state == SlotState.ENDED and self.reason == UNPAID_REASON


def request(*, actor: Actor, subject: str, project_id: UUID, dims: Mapping[str, str] | None = None) -> UUID:
    """Request a slot for `subject`: hold money, reserve quota, and add a waiting row, in the caller's open operation.

    `dims`: dimensions for its price, besides `device_class`. Raises BudgetExceeded (402), QuotaExceeded (409),
    SlotRequested if the subject has or awaits one.
    """
    if has_slot(subject):
        raise SlotRequested(subject=subject)
    row = Allocation(
        subject=subject, project_id=project_id, reason=WAITING_REASON, dims=dict(dims or {}),
        requested_by=actor.id, requested_by_label=actor.label[:254],
    )  # fmt: skip
    row.claim_tenant()
    slot_billing.reserve(row, actor)
    quotas.reserve(resource=QUOTA, subject=subject, of=quotas.Scopes(project_id, quotas.person_of(actor)))
    row.save(force_insert=True)
    record(SLOT_REQUESTED, actor=actor, target=("allocation", row.id, subject), changes={"state": [None, row.state]})
    wake()
    return row.id


def has_slot(subject: str) -> bool:
    """Return whether a subject has a slot or waits for one."""
    return Allocation.objects.exclude(state=SlotState.ENDED).filter(subject=subject).exists()


def release(*, actor: Actor, subject: str, reason: str) -> bool:
    """End the subject's allocation, free its device and release its quota, in the caller's open operation.

    Idempotent; returns False if there is nothing to end.
    """
    row = (
        Allocation.objects.select_for_update(no_key=True).exclude(state=SlotState.ENDED).filter(subject=subject).first()
    )
    if row is None:
        return False
    slot_billing.close(row)
    Allocation.objects.filter(id=row.id).update(state=SlotState.ENDED, ended_at=DatabaseNow(), reason=reason[:400])
    holding.free(row.id)
    quotas.release(subject=subject)
    changes = {"state": [row.state, str(SlotState.ENDED)]}
    record(SLOT_RELEASED, actor=actor, target=("allocation", row.id, subject), changes=changes, reason=reason)
    wake()
    return True


def mine(node_id: UUID) -> list[tuple[UUID, UUID]]:
    """Return (tenant, allocation) of every slot now on this node. Needs and opens no scope."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT tenant_id, id FROM compute_slots_of(%s)", [node_id])
        return [(tenant_id, allocation_id) for tenant_id, allocation_id in cursor.fetchall()]


def renew(*, tenant_id: UUID, allocation_id: UUID, node_id: UUID, boot: UUID) -> bool:
    """Renew the lease of a slot with each heartbeat; the first call of a new boot adopts it.

    False if the slot is no longer this node's, or another worker took over the node's name: stop serving it.
    """
    with tenant_scope(tenant_id):
        lease = timedelta(seconds=settings.EXCHEQUER.lease_s)
        rows = Allocation.objects.filter(
            id=allocation_id, state=SlotState.LIVE, node_id=node_id, node__in=Node.objects.filter(id=node_id, boot=boot)
        )
        return bool(rows.update(boot=boot, lease_until=DatabaseNow() + lease))


def slots(subjects: Iterable[str]) -> dict[str, SlotRow]:
    """Return the last allocation of each of these subjects in the open scope, in one query."""
    with connection.cursor() as cursor:
        cursor.execute(slots_sql("%s::text[]"), [current_tenant_id(), list(subjects)])
        return {row.subject: row for row in rows_as(SlotRow, cursor)}


def slots_sql(subjects: str) -> str:
    """Return the text of a statement that reads `slots`; its one value is the tenant.

    `subjects`: SQL of an array of texts.
    """
    return (
        "SELECT DISTINCT ON (a.subject) a.id, a.subject, a.state, a.token, a.device_name, coalesce(n.name, '') AS node, "  # noqa: S608
        "a.reason, a.requested_at, a.assigned_at FROM compute_allocation a LEFT JOIN compute_node n ON n.id = a.node_id "
        f"WHERE a.tenant_id = %s AND a.subject = ANY({subjects}) ORDER BY a.subject, a.id DESC"
    )


def wake() -> None:
    """Wake the serving nodes at commit, before their next heartbeat."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, '')", [CHANNEL])
