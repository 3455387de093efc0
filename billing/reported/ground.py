"""What the events of a request are checked against, besides prices: read in one statement, under the lock of the set of budgets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing.defaults import SECOND
from billing.metering import meters
from billing.periods.months import lock_for_recent_usage
from billing.rating.aggregation import SUM
from billing.rating.currencies import Currencies, changes
from billing.reported.sender_limits import SenderToday, limits_of, sender_of
from tenants.access.actor import Actor
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import prepared_cursor

READ = f"""
SELECT t.currency, {changes("t.id")}, (exchequer_now() AT TIME ZONE t.timezone)::date,
  (SELECT json_agg(json_build_array(m.event_type, m.key, m.unit, m.aggregation)) FROM billing_meter m WHERE m.tenant_id = t.id),
  (SELECT json_agg(json_build_array(p.id, p.slug)) FROM tenants_project p
   WHERE p.tenant_id = t.id AND (p.slug = ANY(%(names)s::text[]) OR p.id::text = ANY(%(names)s::text[]))),
  (SELECT json_build_array(l.events, l.amount::text, l.currency) FROM billing_reportlimit l WHERE l.tenant_id = t.id),
  EXISTS (SELECT FROM billing_budget b WHERE b.tenant_id = t.id AND b.closed_at IS NULL),
  (SELECT json_build_array(d.events, d.amount::text) FROM billing_senderday d
   WHERE d.tenant_id = t.id AND d.sender_id = %(sender)s AND d.day = %(day)s)
FROM tenants_tenant t WHERE t.id = %(tenant)s
"""  # noqa: S608 (constants)


@dataclass(frozen=True, slots=True)
class Ground:
    """The database's time, the months locked, meters by event type, projects by short name and id, the sender's day and limits.

    `timed`: keys of meters whose unit is the second; `kinds`: aggregations other than sums, by event type. `budgeted`:
    whether there is any budget.
    """

    now: datetime
    months: frozenset[date]
    meters: Mapping[str, str]
    timed: frozenset[str]
    kinds: Mapping[str, str]
    projects: Mapping[str, UUID]
    today: SenderToday
    budgeted: bool


def lock_ground(actor: Actor, projects: Collection[str]) -> Ground:
    """Lock, shared, the set of budgets and the months of recent usage, and read what is known of the open scope's tenant.

    `projects`: what may be named. A tenant without meters gets the platform's. None of it but what the sender has
    reported changes until the transaction ends: what changes meters, limits or budgets locks the set of budgets exclusively.
    """
    opened = lock_for_recent_usage()
    asked: dict[str, Any] = {
        "tenant": current_tenant_id(),
        "names": sorted(projects),
        "sender": sender_of(actor),
        "day": opened.now.astimezone(UTC).date(),
    }
    currency, changed, today, known, named, own, budgeted, reported = _read(asked)
    if known is None:
        meters.provide()
        currency, changed, today, known, named, own, budgeted, reported = _read(asked)
    currencies = Currencies.read(currency, changed)
    within = limits_of((own[0], Decimal(own[1]), own[2]) if own else None, currencies, currencies.of(today))
    events, amount = reported or (0, "0")
    found = {name: UUID(project) for project, slug in named or () for name in (slug, project)}
    return Ground(
        now=opened.now,
        months=opened.months,
        meters={event_type: key for event_type, key, _, _ in known or ()},
        timed=frozenset(key for _, key, unit, _ in known or () if unit == SECOND),
        kinds={event_type: kind for event_type, _, _, kind in known or () if kind != SUM},
        projects=found,
        today=SenderToday(asked["sender"], opened.now, events, Decimal(amount), within),
        budgeted=budgeted,
    )


def _read(asked: Mapping[str, Any]) -> tuple[Any, ...]:
    with prepared_cursor() as cursor:
        cursor.execute(READ, asked)
        row: tuple[Any, ...] = cursor.fetchone()
    return row
