"""Operators answer requests of tenants and of each other, for a reason that both logs keep."""

from __future__ import annotations

from uuid import UUID

from django.db import transaction

from tenants.access.actor import Actor
from tenants.approvals import approvals, kinds
from tenants.approvals.approvals import OwnRequest
from tenants.errors import NotFound
from tenants.isolation.scoping import all_tenants
from tenants.models import Approval
from tenants.operators.operator import Operator
from tenants.operators.operator_log import check_reason, record_act


def answer(*, operator: Operator, approval_id: UUID, granted: bool, reason: str) -> Approval:
    """Approve a request of a tenant, which applies it in the same transaction, or decline it.

    Raises NotFound, OperatorLacks, OwnRequest, Invalid, AlreadyAnswered, ApprovalExpired, and what the request's operation raises.
    """
    with all_tenants("the request names its tenant"):
        found = Approval.objects.filter(id=approval_id, side=kinds.OPERATORS).select_related("tenant").first()
    kind = kinds.find(found.kind) if found is not None else None
    if found is None or kind is None:
        raise NotFound
    operator.require(kind.permission)
    if found.requester == operator.id:
        raise OwnRequest("Another operator must answer your request.")
    reason = check_reason(reason)
    act = approvals.approve_as_operators if granted else approvals.decline_as_operators
    action = approvals.APPROVAL_GRANTED if granted else approvals.APPROVAL_DECLINED
    with transaction.atomic():
        row = act(actor=Actor.system(found.tenant_id, "operator"), approval_id=approval_id, reason=reason)
        said = f"{found.tenant.slug}: {kind.describe(row.wanted, row.target)}"
        record_act(operator, action, target=("tenant", found.tenant_id, said), reason=reason)
        if granted and kind.after is not None:
            kind.after(operator, row)
    return row
