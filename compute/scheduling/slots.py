"""Assign device slots to long allocations, and take back those of silent nodes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q, QuerySet

from compute import holding, pg_session, policy
from compute.allocations import allocations, slot_billing
from compute.events import SlotLost, SlotUnpaid
from compute.models import TAKES_WORK, Allocation, Device, DeviceState, SlotState
from compute.policy import Assign, Work, decide
from compute.queries.capacity import silent_before
from compute.scheduling.assign import CONTROLLER, ready_devices
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow, now
from tenants.events.events import publish
from tenants.isolation.scoping import all_tenants, tenant_scope

SLOT_ASSIGNED = AuditAction("compute.slot.assigned")
SLOT_LOST = AuditAction("compute.slot.lost")
SLOT_UNPAID = AuditAction("compute.slot.unpaid")
LOST_REASON = "Its serving node stopped answering. Waiting for a free serving slot."
MOST_A_ROUND = 500
_FACTS = ("id", "tenant_id", "device_class", "requested_at", "device_id", "node_id")
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SlotCounts:
    """Slots on live nodes, free ones among them, and waiting allocations."""

    offered: int
    free: int
    waiting: int


def slot_counts() -> SlotCounts:
    """Return the state of the pool's slots, over all tenants."""
    offered = Device.objects.filter(serves=True, state=DeviceState.READY, node__last_seen_at__gt=silent_before())
    with all_tenants("slots are shared"):
        waiting = Allocation.objects.filter(state=SlotState.WAITING).count()
    free = offered.filter(TAKES_WORK, held=0)
    return SlotCounts(offered.count(), free.count(), waiting)


def assign_slots() -> int:
    """Assign free serving slots to waiting allocations, by the policy of jobs; return how many."""
    with transaction.atomic(), all_tenants("the pool is shared: the policy weighs all who wait"):
        rows = Allocation.objects.filter(state=SlotState.WAITING, tenant__standing="active").order_by(
            "requested_at", "id"
        )
        waiting = list(rows.values(*_FACTS)[:MOST_A_ROUND])
        devices = ready_devices(serves=True) if waiting else []
        if not devices:
            return 0
        live = Allocation.objects.filter(state=SlotState.LIVE).values(*_FACTS)
        works = [_work(row) for row in (*waiting, *live)]
        present = now()
    given, session = 0, pg_session.session()
    for choice in decide(works, devices, {}, present):
        if not isinstance(choice, Assign):
            continue
        try:
            given += _assign(actor=Actor.system(choice.work.tenant_id, CONTROLLER), choice=choice)
        except IntegrityError as error:  # someone else was quicker: the unique live allocation of a device
            log.warning("controller.slot_refused", slot=str(choice.work.job_id), error=str(error).splitlines()[0])
        except Exception:
            if not pg_session.is_same_session(session):
                raise
            log.exception("controller.slot_failed", slot=str(choice.work.job_id))  # the others must not wait for it
    return given


def _work(row: dict[str, Any]) -> Work:
    held = (policy.Device(row["device_id"], row["node_id"], row["device_class"]),) if row["device_id"] else ()
    return Work(
        job_id=row["id"],
        tenant_id=row["tenant_id"],
        device_class=row["device_class"],
        queued_at=row["requested_at"],
        held=held,
    )


def reap_slots() -> int:
    """Requeue live allocations whose lease expired on a silent node, or whose slot is gone; return how many.

    A live node keeps its slots, however late: only it knows what it answers.
    """
    with transaction.atomic(), all_tenants("leases of every tenant expire alike"):
        late = list(_lost().order_by("id").values_list("tenant_id", "id")[:MOST_A_ROUND])
    lost, session = 0, pg_session.session()
    for tenant_id, allocation_id in late:
        try:
            lost += _take_back(actor=Actor.system(tenant_id, CONTROLLER), allocation_id=allocation_id)
        except Exception:
            if not pg_session.is_same_session(session):
                raise
            log.exception("controller.slot_reaping_failed", slot=str(allocation_id))
    return lost


def settle_slots() -> int:
    """Record due seconds of slots; return how many slots were due.

    Allocations whose budget has no headroom for the next quarter end.
    """
    due = Q(settle_at=None) | Q(settle_at__lte=DatabaseNow())
    with transaction.atomic(), all_tenants("slots of every tenant are settled alike"):
        rows = Allocation.objects.filter(due, state=SlotState.LIVE).order_by("settle_at")
        found = list(rows.values_list("tenant_id", "id")[:MOST_A_ROUND])
    session = pg_session.session()
    for tenant_id, allocation_id in found:
        try:
            if not _settle(tenant_id, allocation_id):
                _stop(actor=Actor.system(tenant_id, CONTROLLER), allocation_id=allocation_id)
        except Exception:
            if not pg_session.is_same_session(session):
                raise
            log.exception("controller.slot_not_settled", slot=str(allocation_id))
    return len(found)


def _settle(tenant_id: UUID, allocation_id: UUID) -> bool:
    """Settle one slot unless another process just has; return False if its money does not last."""
    with tenant_scope(tenant_id):
        row = _live(allocation_id)
        if row is None or (row.settle_at is not None and row.settle_at > now()):
            return True
        return slot_billing.settle(row)


@operation(SLOT_UNPAID)
def _stop(*, actor: Actor, allocation_id: UUID) -> None:
    """Release an unpaid slot, and notify its owner."""
    row = _live(allocation_id)
    if row is None:
        unchanged("it was released meanwhile")
        return
    allocations.release(actor=actor, subject=row.subject, reason=allocations.UNPAID_REASON)
    record(SLOT_UNPAID, actor=actor, target=("allocation", row.id, row.subject), reason=allocations.UNPAID_REASON)
    publish(SlotUnpaid(tenant_id=row.tenant_id, subject=row.subject, allocation_id=row.id))


def _live(allocation_id: UUID) -> Allocation | None:
    rows = Allocation.objects.select_for_update(of=("self",), no_key=True)
    return rows.filter(id=allocation_id, state=SlotState.LIVE).first()


def _lost() -> QuerySet[Allocation]:
    expired = Q(lease_until__lt=DatabaseNow(), node__last_seen_at__lt=silent_before())
    return Allocation.objects.filter(expired | Q(device__state=DeviceState.GONE), state=SlotState.LIVE)


@operation(SLOT_ASSIGNED)
def _assign(*, actor: Actor, choice: Assign) -> int:
    """Write one choice, allocation before device; 0 when either was taken meanwhile."""
    waiting = Allocation.objects.select_for_update(skip_locked=True, of=("self",), no_key=True)
    row = waiting.filter(id=choice.work.job_id, state=SlotState.WAITING).first()
    if row is None or not holding.take([choice.devices[0].id], row.id, tenant_id=row.tenant_id, serves=True):
        unchanged("the allocation or the slot was taken meanwhile")
        return 0
    device = Device.objects.select_related("node").get(id=choice.devices[0].id)
    Allocation.objects.filter(id=row.id).update(
        state=SlotState.LIVE,
        token=F("token") + 1,
        device=device,
        device_name=device.name,
        node=device.node,
        boot=None,
        assigned_at=DatabaseNow(),
        lease_until=DatabaseNow() + timedelta(seconds=settings.EXCHEQUER.lease_s),
        billed_until=None,
        settle_at=DatabaseNow(),
        reason="",
    )
    changes = {"state": [row.state, str(SlotState.LIVE)], "device": [None, device.name]}
    record(SLOT_ASSIGNED, actor=actor, target=("allocation", row.id, row.subject), changes=changes)
    allocations.wake()
    return 1


@operation(SLOT_LOST)
def _take_back(*, actor: Actor, allocation_id: UUID) -> int:
    """Requeue one lost allocation, unless it was renewed or released meanwhile; return 1 if it was."""
    row = _lost().select_for_update(of=("self",), no_key=True).filter(id=allocation_id).first()
    if row is None:
        unchanged("it was renewed, or released, meanwhile")
        return 0
    slot_billing.settle(row, ended_at=now())
    Allocation.objects.filter(id=row.id).update(
        state=SlotState.WAITING, device=None, device_name="", node=None, boot=None, lease_until=None,
        settle_at=None, reason=LOST_REASON,
    )  # fmt: skip
    holding.free(row.id)
    changes = {"state": [row.state, str(SlotState.WAITING)], "device": [row.device_name, None]}
    record(SLOT_LOST, actor=actor, target=("allocation", row.id, row.subject), changes=changes, reason=LOST_REASON)
    publish(SlotLost(tenant_id=row.tenant_id, subject=row.subject))
    allocations.wake()
    return 1
