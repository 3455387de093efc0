"""The order to erase what a closed tenant stored. Its usage and ledger stay; the ops worker does it, and nothing undoes it."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.db import transaction

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.clock import now
from tenants.errors import Conflict, Invalid
from tenants.models import Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act
from tenants.operators.tenant_details import tenant_of

ORDERED = AuditAction("tenants.erasure.ordered")


class NotClosed(Conflict):
    """Only a closed organisation can be erased: close it, and wait for seven days."""

    code = "not_closed"


class ErasureOrdered(Conflict):
    """The erasure of this organisation is ordered already."""

    code = "erasure_ordered"


def order(*, operator: Operator, tenant_id: UUID, name: str, reason: str, prove: Callable[[], None]) -> None:
    """Order the erasure of a closed tenant, whose name is typed as a second confirmation.

    `prove` comes last, and raises unless the operator proved just now who they are. Raises NotFound, NotClosed,
    ErasureOrdered, Invalid.
    """
    operator.require("tenants.erase")
    reason, tenant = check_reason(reason), tenant_of(tenant_id)
    if tenant.standing != "closed":
        raise NotClosed
    if name.strip() != tenant.name:
        raise Invalid(fields={"name": [f"Type the name of the organisation exactly: {tenant.name}"]})
    if tenant.erase_ordered_at is not None:
        raise ErasureOrdered
    prove()
    with transaction.atomic():
        _order(actor=Actor.system(tenant_id, "operator"), reason=reason)
        record_act(operator, ORDERED, target=("tenant", tenant_id, tenant.slug), reason=reason)


@operation(ORDERED)
def _order(*, actor: Actor, reason: str) -> None:
    # The condition is in the statement: of two orders at once one succeeds.
    waiting = Tenant.objects.filter(id=actor.tenant_id, standing="closed", erase_ordered_at=None)
    if not waiting.update(erase_ordered_at=now()):
        raise ErasureOrdered
    record(ORDERED, actor=actor, target=Tenant.objects.get(id=actor.tenant_id), reason=reason)
