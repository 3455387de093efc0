"""Grants whose end has come: they give nothing since that moment, and are removed with what was made with them."""

from __future__ import annotations

from uuid import UUID

from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.grants.grants import affected, facts, holder_columns, target_of
from tenants.identity.holders import changing
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import Grant, Tenant

GRANT_EXPIRED = AuditAction("tenants.grant.expired")


def end_expired() -> int:
    """Remove the expired grants of every tenant (control role); return how many."""
    ended = 0
    due: list[tuple[UUID, UUID]] = []
    with sweep("grants that expired") as each:
        for tenant_id in each.over(Tenant.objects.order_by("id").values_list("id", flat=True)):
            with each(tenant=tenant_id), tenant_scope(tenant_id):
                over = Grant.objects.filter(expires_at__lte=DatabaseNow()).order_by("id")
                due += [(tenant_id, grant_id) for grant_id in over.values_list("id", flat=True)]
        for tenant_id, grant_id in each.over(due):
            with each(tenant=tenant_id, grant=grant_id):
                ended += _end(actor=Actor.system(tenant_id, "housekeeping"), grant_id=grant_id)
    return ended


@operation(GRANT_EXPIRED)
def _end(*, actor: Actor, grant_id: UUID) -> int:
    """Remove a grant, and revoke or narrow the credentials that the remaining rights could not have created.

    Rights of API keys end with the grant itself; endpoint keys and invitations do here.
    """
    grant = Grant.objects.filter(id=grant_id, expires_at__lte=DatabaseNow()).first()
    if grant is None:
        unchanged("it was withdrawn or given again meanwhile")
        return 0
    columns = holder_columns(grant)
    target, told = target_of(grant), facts(grant)
    with changing(actor, *affected(columns)) as reason:
        reason.text = "a grant expired"
        Grant.objects.filter(id=grant_id).delete()
    record(GRANT_EXPIRED, actor=actor, target=target, changes={"grant": [told, None]})
    return 1
