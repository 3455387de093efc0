"""Requests of one operator that another answers: the tenant they are about neither answers nor reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from tenants.access.actor import Actor
from tenants.approvals import approvals, kinds
from tenants.approvals.approvals import APPROVAL_REQUESTED, OPEN_DAYS, check_reason
from tenants.audit import operation, record, unchanged
from tenants.clock import now
from tenants.isolation import limits
from tenants.isolation.scoping import all_tenants
from tenants.models import Approval, ApprovalState
from tenants.operators.operator import Operator


@dataclass(frozen=True, slots=True)
class Waiting:
    """An open request. `wanted` is what its kind stored."""

    id: UUID
    kind: str
    wanted: Mapping[str, Any]
    sentence: str
    requester: UUID | None
    requester_label: str
    reason: str
    expires_at: datetime


@operation(APPROVAL_REQUESTED)
def request(
    *, actor: Actor, operator: Operator, kind: str, target: str, wanted: dict[str, Any], reason: str
) -> tuple[Approval, bool]:
    """Store a request of an operator about the open scope's tenant; return it, and whether it is new.

    `actor` is `Actor.system(tenant_id, "operator")`; the caller has checked what the operator may. An equal open request of
    any operator is returned instead. Raises Invalid.
    """
    found = kinds.find(kind)
    if found is None or not found.between_operators:
        raise KeyError(kind)
    reason = check_reason(reason)
    open_ones = Approval.objects.filter(state=ApprovalState.OPEN, expires_at__gt=now(), kind=kind)
    limits.take_turns(Approval, kind)
    same = open_ones.filter(wanted=wanted).first()
    if same is not None:
        unchanged("the same was asked for before")
        return same, False
    row = Approval(
        kind=kind,
        side=kinds.OPERATORS,
        requester=operator.id,
        requester_label=operator.label[:254],
        target=target[:120],
        wanted=wanted,
        reason=reason,
        expires_at=now() + timedelta(days=OPEN_DAYS),
    )
    row.save(force_insert=True)
    said = found.describe(wanted, target)
    changes = {"wanted": [None, said], "kind": [None, found.title]}
    record(APPROVAL_REQUESTED, actor=actor, target=approvals.target_of(row, said), changes=changes, reason=reason)
    return row, True


def waiting(kind: str, key: str, values: list[str]) -> list[Waiting]:
    """Return the open requests of a kind, of all tenants, whose `wanted` has one of these values, the oldest first."""
    found = kinds.find(kind)
    if found is None:
        raise KeyError(kind)
    with all_tenants("the console lists what its operators ask"):
        rows = Approval.objects.filter(
            side=kinds.OPERATORS, state=ApprovalState.OPEN, expires_at__gt=now(), kind=kind
        ).filter(**{f"wanted__{key}__in": values})
        return [
            Waiting(
                id=row.id,
                kind=row.kind,
                wanted=row.wanted,
                sentence=found.describe(row.wanted, row.target),
                requester=row.requester,
                requester_label=row.requester_label,
                reason=row.reason,
                expires_at=row.expires_at,
            )
            for row in rows.order_by("id")
        ]
