"""Orders to reconcile one tenant or all: an operator or the schedule gives them, the ops worker carries them out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F

from billing.models import Reconciliation, ReconciliationOrder
from billing.reconciling.checking import reconcile
from tenants.audit import AuditAction
from tenants.clock import DatabaseNow
from tenants.isolation.locks import alone
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import record_act
from tenants.operators.tenant_details import tenant_of

ORDERED = AuditAction("billing.reconciliation.ordered")
SCHEDULE = "schedule"
BATCH = 200
log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Order:
    """An order that waits or is being carried out; `tenant_id` is None for all tenants."""

    id: UUID
    tenant_id: UUID | None
    ordered_by: str
    ordered_at: datetime


def order(*, operator: Operator, tenant_id: UUID | None) -> Order:
    """Order the reconciliation of one tenant, or of all; return the order, or the one that waits already.

    Raises NotFound.
    """
    operator.require("invoices.manage")
    target = ("platform", "organisations", "all organisations")
    if tenant_id is not None:
        target = ("tenant", str(tenant_id), tenant_of(tenant_id).slug)
    with transaction.atomic():
        made, new = _ordered(tenant_id, operator.label)
        if new:
            record_act(operator, ORDERED, target=target)
    return made


def order_all() -> None:
    """Order the reconciliation of all tenants, as each night (control role)."""
    _ordered(None, SCHEDULE)


def carry_out() -> int:
    """Reconcile what is ordered, tenant after tenant; return how many (control role).

    A failure of one tenant stops no other. An order that was stopped goes on with the tenants that were not reconciled
    since it was given. Of two workers one does it.
    """
    done = 0
    with alone("billing.reconciliation") as mine:
        while mine and (waiting := ReconciliationOrder.objects.filter(finished_at=None).order_by("id").first()):
            done += _carry_out(waiting)
            ReconciliationOrder.objects.filter(id=waiting.id).update(finished_at=DatabaseNow())
    return done


def _ordered(tenant_id: UUID | None, by: str) -> tuple[Order, bool]:
    made = ReconciliationOrder(about=tenant_id, ordered_by=by[:254])
    ReconciliationOrder.objects.bulk_create([made], ignore_conflicts=True)
    # The newest that waits; else the one of before was finished meanwhile.
    row = ReconciliationOrder.objects.filter(about=tenant_id).order_by(F("finished_at").desc(nulls_first=True)).first()
    if row is None:
        raise RuntimeError("The order is neither new nor waiting.")
    return Order(row.id, row.about, row.ordered_by, row.ordered_at), row.id == made.id


def _carry_out(waiting: ReconciliationOrder) -> int:
    if waiting.about is not None:
        return _reconciled(waiting.about, waiting.ordered_at)
    done, last = 0, None
    while True:
        rows = Tenant.objects.order_by("id")
        following = list((rows.filter(id__gt=last) if last else rows).values_list("id", flat=True)[:BATCH])
        if not following:
            return done
        done += sum(_reconciled(tenant_id, waiting.ordered_at) for tenant_id in following)
        last = following[-1]


def _reconciled(tenant_id: UUID, since: datetime) -> int:
    with tenant_scope(tenant_id):
        if Reconciliation.objects.filter(checked_at__gte=since).exists():
            return 0
    try:
        reconcile(tenant_id)
    except Exception:
        # What was found before stays, with its time: the list shows that it is old.
        log.exception("reconciliation.failed", tenant=str(tenant_id))
        return 0
    return 1
