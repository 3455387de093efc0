"""Requests of tenants that operators answer, as the console lists them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from tenants.approvals import kinds
from tenants.approvals.queries import EXPIRED, in_state
from tenants.clock import now
from tenants.isolation.scoping import all_tenants
from tenants.models import Approval, ApprovalState
from tenants.operators.operator import Operator
from tenants.parsing import parse_moment


@dataclass(frozen=True, kw_only=True)
class RequestRow:
    """A request of a tenant, or of another operator about it. `current` and `wanted` are in the resource's shown unit.

    `may_answer` is the reader's; `page` is where the console shows what it is about, if anywhere.
    """

    id: UUID
    tenant_id: UUID
    tenant_slug: str
    tenant_name: str
    kind: str
    title: str
    sentence: str
    requester_label: str
    resource: str
    current: float | None
    wanted: int | None
    until: datetime | None
    reason: str
    state: str
    created_at: datetime
    expires_at: datetime
    answered_at: datetime | None
    answer_reason: str
    may_answer: bool
    page: str = ""


def requests(
    operator: Operator, *, state: str = "", only: UUID | None = None, before: UUID | None = None, limit: int = 50
) -> list[RequestRow]:
    """Return up to `limit` + 1 requests of all tenants, newest first, older than `before`. Raises Invalid for an unknown state."""
    moment = now()
    condition = in_state(state, moment) if state else Q()
    with all_tenants("the console lists what every tenant asks"):
        rows = _all().filter(condition).select_related("tenant").order_by("-id")
        if only is not None:
            rows = rows.filter(id=only)
        if before is not None:
            rows = rows.filter(id__lt=before)
        return [_row(one, operator, moment) for one in rows[: limit + 1]]


def waiting(most: int) -> int:
    """Return the number of requests that wait, counted up to `most`."""
    with all_tenants("the console counts what every tenant asks"):
        return _all().filter(in_state(ApprovalState.OPEN, now()))[:most].count()


def _all() -> QuerySet[Approval]:
    return Approval.objects.filter(side=kinds.OPERATORS)


def _row(row: Approval, operator: Operator, moment: datetime) -> RequestRow:
    kind, until = kinds.find(row.kind), row.wanted.get("until")
    state = EXPIRED if row.state == ApprovalState.OPEN and row.expires_at <= moment else row.state
    return RequestRow(
        id=row.id,
        tenant_id=row.tenant_id,
        tenant_slug=row.tenant.slug,
        tenant_name=row.tenant.name,
        kind=row.kind,
        title=kind.title if kind else row.kind,
        sentence=kind.describe(row.wanted, row.target) if kind else row.target,
        requester_label=row.requester_label,
        resource=row.target,
        current=row.wanted.get("from"),
        wanted=row.wanted.get("limit"),
        until=parse_moment(until, "until") if until else None,
        reason=row.reason,
        state=state,
        created_at=row.created_at,
        expires_at=row.expires_at,
        answered_at=row.answered_at,
        answer_reason=row.answer_reason,
        may_answer=kind is not None
        and state == ApprovalState.OPEN
        and operator.can(kind.permission)
        and row.requester != operator.id,
        page=kind.page(row.wanted) if kind is not None and kind.page is not None else "",
    )
