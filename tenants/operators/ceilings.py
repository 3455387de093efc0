"""Ceilings of tenants, set by operators: what stands in both logs, in the resource's shown unit."""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from django.db import transaction

from tenants import quotas
from tenants.access.actor import Actor
from tenants.errors import Conflict, NotFound
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """A ceiling to set, in the resource's shown unit; `limit` None lifts it. What is not given stays."""

    resource: str
    limit: int | None
    guaranteed: int | None = None
    weight: int | None = None


def of_tenant(tenant_id: UUID) -> list[quotas.CeilingRow]:
    """Return a tenant's ceilings, by resource. Raises NotFound."""
    _known(tenant_id)
    with tenant_scope(tenant_id):
        return [shown(row) for row in quotas.ceilings()]


def set_one(*, operator: Operator, tenant_id: UUID, wanted: Ceiling, reason: str) -> quotas.CeilingRow:
    """Set or lift (None) a tenant's ceiling of a resource. Raises NotFound, Invalid."""
    operator.require("quotas.manage")
    reason, slug = check_reason(reason), _known(tenant_id)
    if Tenant.objects.filter(id=tenant_id, standing="closed").exists():
        raise Conflict("This organisation is closed: it uses nothing that a ceiling would bound.")
    with transaction.atomic():
        kept = next((row for row in of_tenant(tenant_id) if row.resource == wanted.resource), None)
        guaranteed = wanted.guaranteed if wanted.guaranteed is not None else kept.guaranteed if kept else 0
        weight = wanted.weight if wanted.weight is not None else kept.weight if kept else 1
        row = quotas.set_ceiling(
            actor=Actor.system(tenant_id, "operator"),
            resource=wanted.resource,
            limit=wanted.limit,
            reason=reason,
            guaranteed=guaranteed,
            weight=weight,
        )
        most = "without a ceiling" if wanted.limit is None else f"at most {wanted.limit}"
        told = f"{slug}: {quotas.title_of(wanted.resource)} {most}, {guaranteed} guaranteed, weight {weight}"
        record_act(operator, quotas.CEILING_CHANGED, target=("tenant", tenant_id, told), reason=reason)
    return row


def shown(row: quotas.CeilingRow) -> quotas.CeilingRow:
    """Return a row in its resource's shown unit."""
    known = quotas.resources().get(row.resource)
    if known is None or known.unit == 1:
        return row
    limit = None if row.limit is None else row.limit // known.unit
    raised = None if row.raised_to is None else row.raised_to // known.unit
    return replace(row, limit=limit, guaranteed=row.guaranteed // known.unit, raised_to=raised)


def _known(tenant_id: UUID) -> str:
    slug = Tenant.objects.filter(id=tenant_id).values_list("slug", flat=True).first()
    if slug is None:
        raise NotFound
    return slug
