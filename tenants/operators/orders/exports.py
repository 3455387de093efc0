"""Exports of everything of a tenant, ordered by operators. Only its owners download one."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from tenants import exports
from tenants.access.actor import Actor
from tenants.errors import Conflict
from tenants.models import TenantExport
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act
from tenants.operators.tenant_details import tenant_of


def order(*, operator: Operator, tenant_id: UUID, reason: str) -> TenantExport:
    """Order an export for the owners of a tenant. Raises NotFound, Conflict for a closed tenant, ExportRuns, Invalid."""
    operator.require("tenants.export")
    reason, tenant = check_reason(reason), tenant_of(tenant_id)
    if tenant.standing == "closed":
        raise Conflict("This organisation is closed: nobody is left who could download an export.")
    with transaction.atomic():
        row = exports.order(actor=Actor.system(tenant_id, "operator"), reason=reason)
        record_act(operator, exports.ORDERED, target=("tenant", tenant_id, tenant.slug), reason=reason)
    return row
