"""Reconcile a tenant, and keep what was found: with faults nothing of it is finalised until the figures agree again."""

from __future__ import annotations

from itertools import islice
from uuid import UUID

from django.db import connection

from billing.ledger.reconcile import reconcile_faults
from billing.models import Reconciliation
from billing.platform_events import DIFFERENCE
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow, now
from tenants.isolation.scoping import snapshot_scope, tenant_scope
from tenants.operators.platform_events.raising import raise_event

RECONCILED = AuditAction("billing.reconciliation.changed", while_closing=True)
MOST_FAULTS, LONGEST_FAULT = 10, 400


def reconcile(tenant_id: UUID) -> list[str]:
    """Reconcile a tenant, keep and return its faults (control role). Operators are notified of faults once a day."""
    faults = look(tenant_id)
    _keep(actor=Actor.system(tenant_id, "reconciliation"), faults=faults)
    if faults:
        raise_difference(tenant_id, "reconcile")
    return faults


def look(tenant_id: UUID) -> list[str]:
    """Return the faults of a tenant, at most MOST_FAULTS, and keep nothing.

    All figures are read as of one moment, so usage that arrives meanwhile is no difference; within a transaction that is
    open already they are read as they come.
    """
    scope = tenant_scope if connection.in_atomic_block else snapshot_scope
    with scope(tenant_id):
        return [str(fault)[:LONGEST_FAULT] for fault in islice(reconcile_faults(), MOST_FAULTS)]


def raise_difference(tenant_id: UUID, check: str) -> None:
    """Raise that the figures of a tenant differ, once a day."""
    raise_event(
        DIFFERENCE,
        of=("organisation", tenant_id),
        path="invoices/reconciliation/",
        once=f"{tenant_id} {check} {now():%Y-%m-%d}",
        about=tenant_id,
        data={"check": check},
    )


@operation(RECONCILED)
def _keep(*, actor: Actor, faults: list[str]) -> None:
    before = Reconciliation.objects.select_for_update(no_key=True).first()
    Reconciliation.objects.bulk_create(
        [Reconciliation(checked_at=DatabaseNow(), faults=faults)],
        update_conflicts=True,
        unique_fields=["tenant"],
        update_fields=["checked_at", "faults"],
    )
    found = before.faults if before else []
    if found == faults:
        unchanged("the same faults, or none, were found")
        return
    record(RECONCILED, actor=actor, target=("tenant", actor.tenant_id, ""), changes={"faults": [found, faults]})
