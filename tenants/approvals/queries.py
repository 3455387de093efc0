"""Reads of approvals: one's own requests, and those that one may answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db.models import BooleanField, ExpressionWrapper, Q

from tenants import queries
from tenants.access.actor import Actor
from tenants.approvals import kinds
from tenants.clock import DatabaseNow, now
from tenants.errors import Invalid
from tenants.identity import creators
from tenants.models import Approval, ApprovalState
from tenants.projects.sight import named

EXPIRED = "expired"
STATES = (ApprovalState.OPEN, ApprovalState.APPROVED, ApprovalState.DECLINED, EXPIRED)


@dataclass(frozen=True, kw_only=True)
class ApprovalRow:
    """One request. `sentence` says what is wanted; `may_answer` whether the reader can approve or decline it now.

    Without `expires_at` it waits until it is answered. `page` below the organisation's root shows what it is about, and
    asks for more than a click.
    """

    id: UUID
    kind: str
    title: str
    sentence: str
    project_id: UUID | None
    requester_label: str
    target: str
    wanted: Mapping[str, Any]
    reason: str
    state: str
    created_at: datetime
    expires_at: datetime | None
    answered_by_label: str
    answered_at: datetime | None
    answer_reason: str
    may_answer: bool
    page: str = ""


#: Of requests kept elsewhere (`elsewhere`): actor, state, `only`, `before`, limit.
Rows = Callable[[Actor, str, UUID | None, UUID | None, int], list[ApprovalRow]]
more_rows: list[Rows] = []


def visible(actor: Actor) -> Q:
    """Return the condition that a request is the actor's own, or one that they may answer, or read as operators answer it.

    None is about a project that they may not name.
    """
    answers = [kind for kind in kinds.all_kinds() if actor.can(kind.permission) and actor.can("approvals.answer")]
    theirs = [kind for kind in kinds.all_kinds(kinds.OPERATORS) if not kind.between_operators]
    reads = [kind for kind in theirs if actor.can(kind.permission)]
    seen = Q(kind__in=[kind.name for kind in (*answers, *reads)])
    for project_id in actor.in_projects:
        here = Approval(project_id=project_id)
        names = [kind.name for kind in kinds.all_kinds() if actor.can(kind.permission, here)]
        if names and actor.can("approvals.answer", here):
            seen |= Q(kind__in=names, project_id=project_id)
    return (seen | own_request(actor)) & named(actor=actor)


def own_request(actor: Actor, field: str = "requester") -> Q:
    """Return the condition of rows whose `field` is the person responsible for an actor."""
    return Q(pk__in=()) if actor.id is None else Q(**{field: creators.person_in(actor)})


def barred(actor: Actor, field: str = "requester") -> ExpressionWrapper[Q]:
    """Return, as an expression, whether an actor may not answer a row: its own, unless it `approves_alone`."""
    return ExpressionWrapper(own_request(actor, field) & ~Q(queries.approving_alone()), BooleanField())


def approvals(
    actor: Actor, *, state: str = "", only: UUID | None = None, before: UUID | None = None, limit: int = 50
) -> list[ApprovalRow]:
    """Return up to `limit` + 1 requests that the actor may see, newest first, older than `before`.

    Raises Invalid for an unknown state.
    """
    rows = Approval.objects.filter(visible(actor)).order_by("-id")
    if state:
        rows = rows.filter(in_state(state, DatabaseNow()))
    if only is not None:
        rows = rows.filter(id=only)
    if before is not None:
        rows = rows.filter(id__lt=before)
    over = ExpressionWrapper(Q(expires_at__lte=DatabaseNow()), BooleanField())
    found = [_row(one, actor) for one in rows.annotate(over=over, barred=barred(actor))[: limit + 1]]
    for more in more_rows:
        found += more(actor, state, only, before, limit)
    return sorted(found, key=lambda row: row.id, reverse=True)[: limit + 1]


def in_state(state: str, moment: datetime | DatabaseNow) -> Q:
    """Return the condition that a request is in a state at a moment. Raises Invalid for an unknown one."""
    if state not in STATES:
        raise Invalid(fields={"state": [f"Use one of {', '.join(STATES)}."]})
    if state == EXPIRED:
        return Q(state=ApprovalState.OPEN, expires_at__lte=moment)
    return Q(state=ApprovalState.OPEN, expires_at__gt=moment) if state == ApprovalState.OPEN else Q(state=state)


def _row(row: Any, actor: Actor) -> ApprovalRow:
    """Return an approval for a reader, with whether it is `over`, and the reader `barred`."""
    kind = kinds.find(row.kind)
    state = EXPIRED if row.state == ApprovalState.OPEN and row.over else row.state
    may = (
        kind is not None
        and kind.side == kinds.TENANT
        and actor.can("approvals.answer", row)
        and actor.can(kind.permission, row)
    )
    return ApprovalRow(
        id=row.id,
        kind=row.kind,
        title=kind.title if kind else row.kind,
        sentence=kind.describe(row.wanted, row.target) if kind else row.target,
        project_id=row.project_id,
        requester_label=row.requester_label,
        target=row.target,
        wanted=row.wanted,
        reason=row.reason,
        state=state,
        created_at=row.created_at,
        expires_at=row.expires_at,
        answered_by_label=row.answered_by_label,
        answered_at=row.answered_at,
        answer_reason=row.answer_reason,
        may_answer=may and state == ApprovalState.OPEN and row.requester is not None and not row.barred,
    )


def answer_to(approval_id: UUID) -> str:
    """Return the state of a request of the open scope: open, approved, declined or expired, also if it is gone."""
    row = Approval.objects.filter(id=approval_id).values_list("state", "expires_at").first()
    if row is None:
        return EXPIRED
    state, expires_at = row
    return EXPIRED if state == ApprovalState.OPEN and expires_at <= now() else str(state)


def asked_for(approval_id: UUID | None) -> str:
    """Return what a request of the open scope is for, within a sentence: `higher budget`."""
    name = Approval.objects.filter(id=approval_id).values_list("kind", flat=True).first() if approval_id else None
    kind = kinds.find(name) if name is not None else None
    return kind.title.lower() if kind is not None else "higher limit"
