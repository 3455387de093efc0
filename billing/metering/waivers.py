"""Adjustments for platform failures: counter-entries, never edits."""

from __future__ import annotations

from collections import defaultdict
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.budgets import counters, holds
from billing.events import UsageWaived
from billing.ledger import ledger
from billing.ledger.ledger import AVAILABLE, HELD, SPENT, UNHELD, LedgerAccount, LedgerEntry
from billing.models import Hold
from billing.queries.calendar import tenant_today
from billing.usage.corrections import take_back
from billing.usage.intervals import digest
from billing.usage.rollups import Place, Segment
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.events.events import publish
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows

USAGE_WAIVED = AuditAction("billing.usage.waived")
NOTHING = Decimal(0)

CHARGED = """
SELECT s.attempt_id, r.id AS rollup_id, r.events, r.series_hash, e.start, e.end, r.period, r.day, r.meter_id, r.project_id, r.price_id, r.rate_id, r.billable, r.amount, r.discount, e.hold_id,
  r.hour
FROM billing_usagerollup r JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash
CROSS JOIN LATERAL (
  SELECT min(started_at) AS start, max(ended_at) AS end, min(hold_id::text)::uuid AS hold_id FROM billing_usageevent e
  WHERE e.tenant_id = r.tenant_id AND e.series_hash = r.series_hash AND e.kind = 'usage' AND e.day = r.day AND e.period = r.period
    AND e.started_at >= r.hour AND e.started_at < r.hour + interval '1 hour'
    AND e.project_id = r.project_id AND e.meter_id = r.meter_id AND e.price_id IS NOT DISTINCT FROM r.price_id AND e.rate_id IS NOT DISTINCT FROM r.rate_id
) e
WHERE r.tenant_id = %s AND s.attempt_id = ANY(%s) AND (r.billable <> 0 OR r.amount <> 0)
ORDER BY r.series_hash, r.hour, r.day, r.period FOR NO KEY UPDATE OF r
"""
# A transaction of several attempts has a share of each, of every amount that it charged.
# A budget created after a charge has no posting of it: its opening counted the month's usage as spent, in one sum.
SETTLED = """
WITH charge AS (
  SELECT t.attempt_id, t.hold_id, t.period, t.posted_at, p.pot_kind, p.pot, p.account, p.currency, p.amount
  FROM billing_ledgertransaction t JOIN billing_ledgerposting p ON p.tenant_id = t.tenant_id AND p.transaction_id = t.id
  WHERE t.tenant_id = %(tenant)s AND t.attempt_id = ANY(%(attempts)s) AND p.account IN ('spent', 'unheld')
  UNION ALL
  SELECT s.attempt_id, t.hold_id, t.period, t.posted_at, p.pot_kind, p.pot, p.account, p.currency, s.amount
  FROM billing_ledgershare s JOIN billing_ledgertransaction t ON t.tenant_id = s.tenant_id AND t.id = s.transaction_id
  JOIN billing_ledgerposting p ON p.tenant_id = t.tenant_id AND p.transaction_id = t.id
  WHERE s.tenant_id = %(tenant)s AND s.attempt_id = ANY(%(attempts)s) AND p.account IN ('spent', 'unheld')
), opened AS (
  SELECT o.posted_at, c.id, c.period, b.project_id, b.tag_key, b.tag_value, b.person, b.period AS length, p.currency
  FROM billing_ledgertransaction o JOIN billing_ledgerposting p ON p.tenant_id = o.tenant_id AND p.transaction_id = o.id
  JOIN billing_budgetperiod c ON c.tenant_id = o.tenant_id AND c.id = p.pot
  JOIN billing_budget b ON b.tenant_id = c.tenant_id AND b.id = c.budget_id
  WHERE o.tenant_id = %(tenant)s AND o.kind = 'open' AND p.account = 'spent'
)
SELECT attempt_id, hold_id, period, pot_kind, pot, account, currency, sum(amount) AS amount FROM (
  SELECT attempt_id, hold_id, period, pot_kind, pot, account, currency, amount FROM charge
  UNION ALL
  SELECT a.attempt_id, a.hold_id, a.period, 'counter', o.id, 'spent', a.currency, a.amount
  FROM charge a LEFT JOIN billing_hold h ON h.tenant_id = %(tenant)s AND h.id = a.hold_id
  JOIN opened o ON o.period = date_trunc(o.length, a.period::timestamp)::date AND o.currency = a.currency AND o.posted_at > a.posted_at
    AND (o.project_id IS NULL OR o.project_id = coalesce(h.project_id, a.pot)) AND (o.person IS NULL OR o.person = h.person)
    AND (o.tag_key = '' OR EXISTS (SELECT FROM billing_usageseries s WHERE s.tenant_id = %(tenant)s
      AND s.attempt_id = a.attempt_id AND s.dims ->> ('tag:' || o.tag_key) = o.tag_value))
  WHERE a.pot_kind <> 'counter'
) AS share GROUP BY 1, 2, 3, 4, 5, 6, 7 HAVING sum(amount) <> 0 ORDER BY 1, 2, 3
"""
HOLDS = """
SELECT hold_id FROM (
  SELECT hold_id FROM billing_ledgertransaction WHERE tenant_id = %(tenant)s AND attempt_id = ANY(%(attempts)s)
  UNION
  SELECT t.hold_id FROM billing_ledgershare s JOIN billing_ledgertransaction t ON t.tenant_id = s.tenant_id AND t.id = s.transaction_id
  WHERE s.tenant_id = %(tenant)s AND s.attempt_id = ANY(%(attempts)s)
) AS paid WHERE hold_id IS NOT NULL ORDER BY 1
"""
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('billing.waive' || id, 0)) FROM unnest(%s::text[]) AS id"


def waive_usage(*attempts: UUID, reason: str) -> Decimal:
    """Take the charges off attempts that the platform failed; return the amount, in today's currency. Idempotent.

    Measurements stay. The money goes back to open holds, else to the budgets.
    """
    actor = Actor.system(current_tenant_id(), "billing")
    return _waive(actor=actor, attempts=sorted(attempts), reason=reason) if attempts else Decimal(0)


@operation(USAGE_WAIVED)
def _waive(*, actor: Actor, attempts: list[UUID], reason: str) -> Decimal:
    # All together: every hold and budget is locked before the first hourly sum.
    tenant_id = current_tenant_id()
    counters.lock_budget_set()
    with connection.cursor() as cursor:
        cursor.execute(ONE_AT_A_TIME, [[str(attempt) for attempt in attempts]])
        cursor.execute(HOLDS, {"tenant": tenant_id, "attempts": attempts})
        # A hold released so long ago that it is removed gives back to the budgets, like any released one.
        kept = Hold.objects.filter(pk__in=[row.hold_id for row in named_rows(cursor)]).order_by("pk")
        states = {hold.pk: hold for hold in kept.select_for_update(no_key=True)}
        cursor.execute(SETTLED, {"tenant": tenant_id, "attempts": attempts})
        settled = named_rows(cursor)
        # All counters in one statement, whether the holds lie on them or they were opened after the charge.
        touched = counters.lock_these({row.pot for row in settled if row.pot_kind == "counter"})
        locked = {counter.id: counter for counter in touched}
        cursor.execute(CHARGED, [tenant_id, attempts])
        charged = named_rows(cursor)
    segments = [entry for rows in _sums(charged) if (entry := _counter_entry(rows)) is not None]
    if not segments:
        unchanged("nothing was charged")
        return Decimal(0)
    keys = [segment.key_hash for _, _, segment in segments]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO billing_usagekey (tenant_id, key_hash, payload_hash, event_at) "
            "SELECT %s, k, k, exchequer_now() FROM unnest(%s::bytea[]) AS k",
            [tenant_id, keys],
        )
    at = tenant_today()
    for _, _, segment in segments:
        segment.place.currency = at.currencies.of(segment.day)
    take_back([(rollup_id, segment) for _, rollup_id, segment in segments], zone=at.zone)
    _return(settled, states, locked, reason)
    amounts: dict[tuple[UUID, str], Decimal] = defaultdict(Decimal)
    for attempt_id, _, segment in segments:
        amounts[attempt_id, segment.currency] -= segment.amount
    _record_waived(actor, amounts, reason)
    return -at.currencies.worth((segment for _, _, segment in segments), at.currency)


def _record_waived(actor: Actor, amounts: dict[tuple[UUID, str], Decimal], reason: str) -> None:
    for (attempt, currency), amount in sorted(amounts.items()):
        record(
            USAGE_WAIVED,
            actor=actor,
            target=("attempt", attempt, str(attempt)),
            changes={"amount": [amount, Decimal(0)], "currency": [currency, currency]},
            reason=reason,
        )
        publish(
            UsageWaived(
                tenant_id=current_tenant_id(), attempt_id=attempt, amount=amount, currency=currency, reason=reason
            )
        )


def _sums(charged: list[Any]) -> list[list[Any]]:
    """Group rows of CHARGED by what they count: one row, and those that corrected it after its month was closed."""
    groups: dict[tuple[Any, ...], list[Any]] = defaultdict(list)
    for row in charged:
        key = (bytes(row.series_hash), row.hour, row.day, row.project_id, row.meter_id, row.price_id, row.rate_id)
        groups[key].append(row)
    return list(groups.values())


def _counter_entry(rows: list[Any]) -> tuple[UUID, UUID, Segment] | None:
    """Return the attempt, the sum and the counter-entry of a group of rows; None if nothing is left of it."""
    billable, amount = sum(row.billable for row in rows), sum(row.amount for row in rows)
    if not billable and not amount:
        return None
    first = rows[0]
    events = sum(row.events for row in rows)
    place = Place(
        series=bytes(first.series_hash),
        hour=first.hour,
        day=first.day,
        period=first.period,
        meter_id=first.meter_id,
        project_id=first.project_id,
        price_id=first.price_id,
        rate_id=first.rate_id,
    )
    segment = Segment(
        place,
        key_hash=digest("waiver", str(first.attempt_id), str(first.rollup_id), str(events)),
        part=0,
        start=min(row.start for row in rows if row.start),
        end=max(row.end for row in rows if row.end),
        measured=NOTHING,
        billable=-billable,
        amount=-amount,
        discount=-sum((row.discount for row in rows), NOTHING),
        hold_id=first.hold_id,
        kind="waiver",
    )
    return first.attempt_id, first.rollup_id, segment


def _return(
    settled: list[Any],
    states: dict[UUID, Hold],
    locked: dict[UUID, counters.Counter],
    reason: str,
) -> None:
    """Reverse what the ledger charged, one ledger account at a time."""
    transactions: dict[tuple[UUID, UUID | None, date], list[ledger.Posting]] = {}
    for row in settled:
        state = states.get(row.hold_id)
        running = state is not None and state.state == holds.OPEN
        stays = running and state is not None and row.period == state.period and row.account == SPENT
        owner = LedgerAccount(row.pot_kind, row.pot)
        postings = transactions.setdefault((row.attempt_id, row.hold_id, row.period), [])
        postings += ledger.move(row.account, HELD if stays else AVAILABLE, [owner], row.amount, row.currency)
        if row.pot_kind == "hold":
            holds.give_back(row.pot, row.amount, shrink=running and not stays)
        elif row.pot_kind == "counter":
            back = (
                {"unheld": -row.amount}
                if row.account == UNHELD
                else {"spent": -row.amount, "held": row.amount if stays else Decimal(0)}
            )
            counters.apply_delta([locked[row.pot]], row.currency, **back)
    entries = [
        LedgerEntry("waive", period, postings, hold_id=hold_id, attempt_id=attempt_id, reason=reason)
        for (attempt_id, hold_id, period), postings in transactions.items()
    ]
    ledger.post(*entries)
