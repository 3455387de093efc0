"""Exports of everything of a tenant, ordered by operators. Only its owners download one."""

from __future__ import annotations

from contextlib import suppress
from uuid import UUID

from django.db import transaction

from tenants import exports
from tenants.access.actor import Actor
from tenants.errors import Conflict
from tenants.isolation.scoping import all_tenants
from tenants.models import OperatorAct, TenantExport
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


def end_orders(*, operator_id: UUID, by: Operator, reason: str) -> int:
    """End the exports that an operator ordered and that are not built yet (control role); return how many."""
    acts = OperatorAct.objects.filter(action=str(exports.ORDERED), target_type="tenant").order_by("-id")
    asked = {UUID(one) for one in acts.filter(operator=operator_id).values_list("target_id", flat=True)}
    with all_tenants("an operator orders of several tenants"):
        rows = TenantExport.objects.filter(state__in=("queued", "running"), ordered_by="operator", tenant_id__in=asked)
        found = list(rows.order_by("tenant_id"))
    ended = []
    for row in found:
        newest = acts.filter(target_id=str(row.tenant_id)).first()
        if newest is not None and newest.operator == operator_id:
            with suppress(exports.ExportEnded):
                exports.end(actor=Actor.system(row.tenant_id, "operator"), export_id=row.id, reason=reason)
                ended.append((row, newest.target_label))
    for row, label in ended:
        record_act(by, exports.ENDED, target=("tenant", row.tenant_id, label), reason=reason)
    return len(ended)
