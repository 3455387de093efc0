"""Operations on approvals: ask, approve, decline. Who asks and who approves are two people.

Locks: the approval first, then those of the operation that it lets through.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import Q

from tenants import queries
from tenants.access.actor import Actor, InProject
from tenants.approvals import kinds
from tenants.approvals.queries import visible
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import now
from tenants.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenants.events import events
from tenants.events.events import subscribe
from tenants.identity import creators
from tenants.isolation import limits
from tenants.models import Approval, ApprovalState
from tenants.notifications import notifications
from tenants.rights import held

APPROVAL_REQUESTED = AuditAction("tenants.approval.requested")
APPROVAL_GRANTED = AuditAction("tenants.approval.granted")
APPROVAL_DECLINED = AuditAction("tenants.approval.declined")
WAITS, ANSWERED = "approval.waits", "approval.answered"
OPEN_DAYS = 30
MOST_REASON = 500
MOST_OPEN = 100


class AlreadyAnswered(Conflict):
    """Somebody has answered this request already."""

    code = "already_answered"


class ApprovalExpired(Conflict):
    """This request has expired. Ask again."""

    code = "approval_expired"


class OwnRequest(PermissionDenied):
    """Another member must answer requests by you or by a key that you created."""

    code = "self_approval"


class AnsweredByOperators(PermissionDenied):
    """The operators of this installation answer this request."""

    code = "answered_by_operators"


class Outdated(Conflict):
    """What this request is about does not exist any more. Decline it."""

    code = "approval_outdated"


class TooManyOpen(Conflict):
    """Too many of your requests are open. Wait for answers."""

    code = "too_many_requests_open"


@operation(APPROVAL_REQUESTED)
def request(
    *, actor: Actor, kind: str, target: str, wanted: dict[str, Any], reason: str, project_id: UUID | None = None
) -> Approval:
    """Store a request, and notify those who may answer it; an equal open one of the same person is returned instead.

    The caller has checked what is wanted. Raises PermissionDenied, Invalid, TooManyOpen.
    """
    found = kinds.find(kind)
    if found is None:
        raise KeyError(kind)
    actor.require(found.asks, InProject(project_id))
    reason = check_reason(reason)
    person = creators.one_person(actor)
    mine = Approval.objects.filter(state=ApprovalState.OPEN, requester=person, expires_at__gt=now())
    full = limits.is_full(mine, MOST_OPEN, of=person)
    same = mine.filter(kind=kind, target=target, wanted=wanted).first()
    if same is not None:
        unchanged("the same was asked for before")
        same.was_open = True
        return same
    if full:
        raise TooManyOpen
    row = Approval.objects.create(
        kind=kind,
        side=found.side,
        project_id=project_id,
        requester=person,
        requester_label=actor.said[:254],
        target=target,
        wanted=wanted,
        reason=reason,
        expires_at=now() + timedelta(days=OPEN_DAYS),
    )
    said = found.describe(wanted, target)
    changes = {"wanted": [None, said], "kind": [None, found.title]}
    record(APPROVAL_REQUESTED, actor=actor, target=target_of(row, said), changes=changes, reason=reason)
    events.publish(events.ApprovalRequested(tenant_id=actor.tenant_id, approval_id=row.id, kind=kind))
    if found.side == kinds.TENANT:
        notifications.notify(
            permission=found.permission,
            kind=WAITS,
            title=f"{found.title} waits for an answer",
            body=f"{actor.said} asks: {said} Reason: {reason}",
            path=_page(row),
            only=held.naming(project_id) & ~Q(user_id=person),
        )
    return row


@operation(APPROVAL_GRANTED)
def approve(*, actor: Actor, approval_id: UUID, reason: str = "") -> Approval:
    """Approve a request: its operation runs with the approver as actor, or nothing changes. Idempotent.

    Raises NotFound, PermissionDenied, OwnRequest, AlreadyAnswered, ApprovalExpired, and what the operation raises.
    """
    row, kind = _answerable(actor, approval_id)
    if row.state == ApprovalState.APPROVED:
        unchanged("it was approved before")
        return row
    _require_open(row)
    _apply(actor, row, kind)
    _answer(actor, row, kind, ApprovalState.APPROVED, check_reason(reason, needed=False))
    _tell(actor, row, kind)
    return row


@operation(APPROVAL_DECLINED)
def decline(*, actor: Actor, approval_id: UUID, reason: str = "") -> Approval:
    """Decline a request; nothing else changes. Idempotent. Raises as `approve`."""
    row, kind = _answerable(actor, approval_id)
    if row.state == ApprovalState.DECLINED:
        unchanged("it was declined before")
        return row
    _require_open(row)
    _answer(actor, row, kind, ApprovalState.DECLINED, check_reason(reason, needed=False))
    _tell(actor, row, kind)
    return row


@operation(APPROVAL_DECLINED)
def decline_for_leaver(*, actor: Actor, approval_id: UUID, reason: str) -> None:
    """Decline an open request of somebody who is no longer a member, who is not notified. `actor` is the system."""
    row = Approval.objects.select_for_update(no_key=True, of=("self",)).get(id=approval_id)
    kind = kinds.find(row.kind)
    if row.state != ApprovalState.OPEN or kind is None:
        unchanged("it was answered meanwhile")
        return
    _answer(actor, row, kind, ApprovalState.DECLINED, reason)
    notifications.settle(kind=WAITS, path=_page(row))


@operation(APPROVAL_GRANTED)
def approve_as_operators(*, actor: Actor, approval_id: UUID, reason: str) -> Approval:
    """Approve a request that operators answer, as `approve` does; `actor` is `Actor.system(tenant_id, "operator")`.

    The caller has checked what the operator may, and writes the operator log. One answer wins: a second one, equal or
    not, raises AlreadyAnswered. The asker is notified on the event: the console writes no notifications.
    """
    row, kind = _of_operators(approval_id)
    _apply(actor, row, kind)
    _answer(actor, row, kind, ApprovalState.APPROVED, check_reason(reason))
    return row


@operation(APPROVAL_DECLINED)
def decline_as_operators(*, actor: Actor, approval_id: UUID, reason: str) -> Approval:
    """Decline a request that operators answer, as `approve_as_operators` approves one."""
    row, kind = _of_operators(approval_id)
    _answer(actor, row, kind, ApprovalState.DECLINED, check_reason(reason))
    return row


@subscribe(events.ApprovalAnswered)
def tell_of_operators(event: events.ApprovalAnswered) -> None:
    """Notify the asker that the operators answered."""
    row = Approval.objects.filter(id=event.approval_id, side=kinds.OPERATORS).first()
    kind = kinds.find(row.kind) if row is not None else None
    if row is not None and kind is not None:
        _tell(Actor.system(row.tenant_id, "The operators of this installation"), row, kind)


def check_reason(text: str, *, needed: bool = True) -> str:
    """Return a reason of at most 500 characters; raise `Invalid` otherwise, or without one where it is `needed`."""
    reason = " ".join(text.split())
    if len(reason) > MOST_REASON or not reason.isprintable() or (needed and len(reason) < 3):
        least = "3 to " if needed else "at most "
        raise Invalid(fields={"reason": [f"Say why, in {least}{MOST_REASON} characters."]})
    return reason


def _answerable(actor: Actor, approval_id: UUID) -> tuple[Approval, kinds.ApprovalKind]:
    """Return a request that the actor may answer, locked, with its kind."""
    actor.require_somewhere("approvals.answer")
    rows = Approval.objects.select_for_update(no_key=True, of=("self",)).filter(id=approval_id)
    row = rows.filter(visible(actor)).first()
    kind = kinds.find(row.kind) if row is not None else None
    if row is None or kind is None:
        raise NotFound
    actor.require("approvals.answer", row)
    if kind.side != kinds.TENANT:
        raise AnsweredByOperators
    actor.require(kind.permission, row)
    if not queries.approves_alone() and row.requester in (None, creators.one_person(actor)):
        raise OwnRequest
    return row, kind


def _of_operators(approval_id: UUID) -> tuple[Approval, kinds.ApprovalKind]:
    """Return an open request that operators answer, locked, with its kind."""
    rows = Approval.objects.select_for_update(no_key=True, of=("self",))
    row = rows.filter(id=approval_id, side=kinds.OPERATORS).first()
    kind = kinds.find(row.kind) if row is not None else None
    if row is None or kind is None:
        raise NotFound
    _require_open(row)
    return row, kind


def _apply(actor: Actor, row: Approval, kind: kinds.ApprovalKind) -> None:
    """Run what was asked for. What it names may be gone: that is no missing page."""
    try:
        kind.apply(actor, row)
    except NotFound as gone:
        raise Outdated from gone


def _require_open(row: Approval) -> None:
    if row.state != ApprovalState.OPEN:
        raise AlreadyAnswered(state=row.state)
    if row.expires_at <= now():
        raise ApprovalExpired


def _answer(actor: Actor, row: Approval, kind: kinds.ApprovalKind, state: str, reason: str) -> None:
    row.state, row.answered_by, row.answered_by_label = state, actor.id, actor.said[:254]
    row.answered_at, row.answer_reason = now(), reason
    row.save(update_fields=["state", "answered_by", "answered_by_label", "answered_at", "answer_reason"])
    said = kind.describe(row.wanted, row.target)
    action = APPROVAL_GRANTED if state == ApprovalState.APPROVED else APPROVAL_DECLINED
    changes = {"state": [ApprovalState.OPEN, state], "requested_by": [None, row.requester_label]}
    record(action, actor=actor, target=target_of(row, said), changes=changes, reason=reason)
    if kind.between_operators:  # nobody of the tenant waits for it
        return
    events.publish(
        events.ApprovalAnswered(tenant_id=actor.tenant_id, approval_id=row.id, kind=row.kind, state=str(state))
    )


def _tell(actor: Actor, row: Approval, kind: kinds.ApprovalKind) -> None:
    notifications.settle(kind=WAITS, path=_page(row))
    if row.requester is not None and row.requester != actor.id:
        because = f" Reason: {row.answer_reason}" if row.answer_reason else ""
        body = f"{actor.said} {row.state} your request: {kind.describe(row.wanted, row.target)}{because}"
        notifications.notify_person(
            row.requester, kind=ANSWERED, title=f"{kind.title} was {row.state}", body=body, path=_page(row)
        )


def target_of(row: Approval, said: str) -> tuple[str, UUID, str]:
    """Return a request as the target of an audit entry."""
    return ("approval", row.id, said[:254])


def _page(row: Approval) -> str:
    return f"approvals/?of={row.id}"
