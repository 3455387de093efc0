"""Looks inside tenants as the console lists them: those that wait for a second operator, run, or are over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from django.db.models import Q, QuerySet

from tenants.clock import now
from tenants.isolation.scoping import all_tenants
from tenants.models import BreakGlass
from tenants.operators.glass.looks import ASKED_FOR
from tenants.operators.operator import Operator

STATES = ("waiting", "open", "declined", "expired", "ended")


@dataclass(frozen=True, kw_only=True)
class LookRow:
    """One look. `may_answer`, `may_enter` and `may_end` are the reader's."""

    id: UUID
    tenant_id: UUID
    tenant_slug: str
    tenant_name: str
    operator_label: str
    reason: str
    minutes: int
    needs_second: bool
    state: str
    asked_at: datetime
    answered_label: str
    ends_at: datetime | None
    ended_at: datetime | None
    entered_at: datetime | None
    may_answer: bool
    may_enter: bool
    may_end: bool


def looks(
    operator: Operator, *, tenant_id: UUID | None = None, before: UUID | None = None, limit: int = 50
) -> list[LookRow]:
    """Return up to `limit` + 1 looks, newest first, older than `before`: of all tenants, or of one."""
    with all_tenants("the console lists looks of every tenant"):
        rows = BreakGlass.objects.select_related("tenant").order_by("-id")
        if tenant_id is not None:
            rows = rows.filter(tenant_id=tenant_id)
        if before is not None:
            rows = rows.filter(id__lt=before)
        moment = now()
        return [_row(one, operator, moment) for one in rows[: limit + 1]]


def one_look(operator: Operator, look: BreakGlass) -> LookRow:
    """Return one look as lists show it."""
    with all_tenants("the look names its tenant"):
        found = BreakGlass.objects.select_related("tenant").get(id=look.id)
    return _row(found, operator, now())


def live(moment: datetime) -> QuerySet[BreakGlass]:
    """Return the looks that wait or run at a moment; only inside `all_tenants`."""
    waiting = Q(ends_at=None, asked_at__gt=moment - ASKED_FOR)
    return BreakGlass.objects.filter(waiting | Q(ends_at__gt=moment), ended_at=None)


def state_of(look: BreakGlass, moment: datetime) -> str:
    """Return one of STATES."""
    if look.ended_at is not None:
        return "ended" if look.ends_at else "declined" if look.answered_by else "ended"
    if look.ends_at is None:
        return "waiting" if look.asked_at > moment - ASKED_FOR else "expired"
    return "open" if look.ends_at > moment else "ended"


def _row(look: BreakGlass, operator: Operator, moment: datetime) -> LookRow:
    state, own, person = state_of(look, moment), look.operator == operator.id, operator.key_id is None
    looks_inside = operator.can("tenants.look_inside")
    return LookRow(
        id=look.id,
        tenant_id=look.tenant_id,
        tenant_slug=look.tenant.slug,
        tenant_name=look.tenant.name,
        operator_label=look.operator_label,
        reason=look.reason,
        minutes=look.minutes,
        needs_second=look.needs_second,
        state=state,
        asked_at=look.asked_at,
        answered_label=look.answered_label,
        ends_at=look.ends_at,
        ended_at=look.ended_at,
        entered_at=look.entered_at,
        may_answer=state == "waiting" and not own and person and operator.can("tenants.manage"),
        may_enter=state == "open" and own and looks_inside,
        may_end=state in ("waiting", "open") and looks_inside and (own or "platform_admin" in operator.roles),
    )
