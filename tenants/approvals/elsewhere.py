"""Requests that an app keeps with the object they are about: listed and answered with all others.

Apps above register at start. Such a request has the id of its object, which has at most one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from uuid import UUID

from tenants.access.actor import Actor
from tenants.approvals import approvals, queries
from tenants.approvals.queries import ApprovalRow
from tenants.clock import now
from tenants.models import ApprovalState

#: Actor, whether it is approved, the id and the reason; raises what the operation raises.
Answer = Callable[[Actor, bool, UUID, str], object]


@dataclass(frozen=True)
class Kept:
    """Requests of one app: those that an actor may see, as `queries.approvals` returns them, and how one is answered."""

    rows: queries.Rows
    answer: Answer


_kept: list[Kept] = []


def register(kept: Kept) -> None:
    """Register the requests of an app."""
    _kept.append(kept)
    queries.more_rows.append(kept.rows)


def answer(*, actor: Actor, approval_id: UUID, granted: bool, reason: str = "") -> ApprovalRow:
    """Approve or decline a request, wherever it is kept, and return it. Idempotent. Raises as `approvals.approve`."""
    for kept in _kept:
        for row in kept.rows(actor, "", approval_id, None, 1):
            return _answered(kept, actor, row, granted=granted, reason=reason)
    act = approvals.approve if granted else approvals.decline
    act(actor=actor, approval_id=approval_id, reason=reason)
    (found,) = queries.approvals(actor, only=approval_id)
    return found


def _answered(kept: Kept, actor: Actor, row: ApprovalRow, *, granted: bool, reason: str) -> ApprovalRow:
    state = ApprovalState.APPROVED if granted else ApprovalState.DECLINED
    if row.state == state:
        return row
    if row.state != ApprovalState.OPEN:
        raise approvals.AlreadyAnswered(state=row.state)
    actor.require("approvals.answer", row)
    reason = approvals.check_reason(reason, needed=False)
    kept.answer(actor, granted, row.id, reason)
    return replace(
        row,
        state=str(state),
        may_answer=False,
        answered_by_label=actor.said,
        answered_at=now(),
        answer_reason=reason,
    )
