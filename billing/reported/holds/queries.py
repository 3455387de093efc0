"""Holds for outside work, as their senders and the organisation read them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import F, QuerySet

from billing.models import Hold
from billing.models.holds import OPEN
from billing.money import Money
from billing.queries.budgets import tightest
from tenants.clock import DatabaseNow
from tenants.errors import NotFound
from tenants.projects.sight import named

RELEASED, EXPIRED = "released", "expired"
STATES = (OPEN, RELEASED, EXPIRED)


@dataclass(frozen=True, slots=True)
class HoldRow:
    """One hold. `left` may still be settled from it; `state` is open, released or expired."""

    id: UUID
    project_id: UUID
    project_slug: str
    project_name: str
    meter: str
    quantity: Decimal
    dims: Mapping[str, str]
    amount: Money
    settled: Money
    left: Money
    state: str
    placed_by: str
    placed_at: datetime
    expires_at: datetime
    released_at: datetime | None


def hold(hold_id: UUID) -> HoldRow:
    """Return one hold whose project the reader may name. Raises NotFound."""
    for row in _rows(Hold.objects.filter(pk=hold_id), 1):
        return row
    raise NotFound


def holds(*, state: str = "", before: UUID | None = None, limit: int = 50) -> list[HoldRow]:
    """Return up to `limit` + 1 holds, newest first; with `state` only those."""
    rows = Hold.objects.all()
    if state == OPEN:
        rows = rows.filter(state=OPEN, expires_at__gt=DatabaseNow())
    elif state:
        over = rows.exclude(state=OPEN, expires_at__gt=DatabaseNow())
        expired = over.filter(released_at=None) | over.filter(released_at__gte=F("expires_at"))
        rows = expired if state == EXPIRED else over.filter(released_at__lt=F("expires_at"))
    if before is not None:
        rows = rows.filter(pk__lt=before)
    return _rows(rows, limit + 1)


def budget_left(row: HoldRow) -> Money | None:
    """Return the headroom of the tightest enforced budget that a hold lies on; None without one."""
    tags, person = Hold.objects.values_list("tags", "person").get(pk=row.id)
    status = tightest(row.project_id, tags, person)
    return None if status is None else status.left


def _rows(rows: QuerySet[Hold], most: int) -> list[HoldRow]:
    found = rows.filter(named(), expires_at__isnull=False).select_related("project").annotate(present=DatabaseNow())
    return [_row(one) for one in found.order_by("-pk")[:most]]


def _row(one: Any) -> HoldRow:
    expires_at = one.expires_at
    ended = one.released_at or (expires_at if expires_at <= one.present else None)
    state = OPEN if ended is None else EXPIRED if ended >= expires_at else RELEASED
    left = one.amount - one.settled if state == OPEN else Decimal(0)
    return HoldRow(
        id=one.pk,
        project_id=one.project_id,
        project_slug=one.project.slug,
        project_name=one.project.name,
        meter=one.meter,
        quantity=one.quantity or Decimal(0),
        dims=one.dims,
        amount=Money(one.amount, one.currency),
        settled=Money(one.settled, one.currency),
        left=Money(left, one.currency),
        state=state,
        placed_by=one.placed_by,
        placed_at=one.placed_at,
        expires_at=expires_at,
        released_at=one.released_at,
    )
