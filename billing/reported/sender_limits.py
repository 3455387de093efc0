"""Daily limits of senders, by number and by cost: a runaway sender cannot run up a bill."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.budgets import counters
from billing.models import ReportLimit
from billing.money import Money, fineness_fault, minor_decimals
from billing.queries.calendar import tenant_today
from billing.rating.currencies import Currencies
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import Invalid, RateLimited
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import prepared_cursor

LIMIT_CHANGED = AuditAction("billing.report_limit.changed")
EVENTS_A_DAY = 1_000_000
MOST_EVENTS_A_DAY = 1_000_000_000
COST_A_DAY = Decimal(10_000)
LARGEST_COST = Decimal(10) ** 15
DAY = """
INSERT INTO billing_senderday AS d (id, tenant_id, sender_id, day, events, amount)
VALUES (gen_random_uuid(), %(tenant)s, %(sender)s, %(day)s, 0, 0)
ON CONFLICT (tenant_id, sender_id, day) DO UPDATE SET events = d.events RETURNING events, amount
"""
COUNT = """
UPDATE billing_senderday SET events = events + %s, amount = amount + %s WHERE tenant_id = %s AND sender_id = %s AND day = %s
"""


class ReportLimitReached(RateLimited):
    """This sender has reached its daily limit."""

    code = "usage_limit"


@dataclass(frozen=True, slots=True)
class Limits:
    """Daily limits of each sender, per UTC day; `own` if the organisation set them."""

    events: int
    amount: Money
    own: bool


@dataclass(frozen=True, slots=True)
class SenderToday:
    """What a sender has reported today, read under its row lock."""

    sender_id: UUID
    now: datetime
    events: int
    amount: Decimal
    limits: Limits

    @property
    def day(self) -> date:
        """The UTC day."""
        return self.now.astimezone(UTC).date()

    def require(self, events: int, amount: Decimal) -> None:
        """Raise ReportLimitReached, with the seconds until the next day, if one request's events are too many or cost too much."""
        most = self.limits
        if events and self.events + events > most.events:
            self._refuse(f"This sender may report {most.events:,} events a day and has reported {self.events:,} today.")
        if amount and self.amount + amount > most.amount.amount:
            text = Money(self.amount, most.amount.currency).plain()
            asked = Money(amount, most.amount.currency).plain()
            self._refuse(
                f"This sender may report use for {most.amount.plain()} a day, has reported {text} today and asks for {asked} more."
            )

    def count(self, events: int, amount: Decimal) -> None:
        """Add one request's events. Raises ReportLimitReached, as `require` does."""
        self.require(events, amount)
        with connection.cursor() as cursor:
            cursor.execute(COUNT, [events, amount, current_tenant_id(), self.sender_id, self.day])

    def _refuse(self, why: str) -> None:
        tomorrow = datetime.combine(self.day + timedelta(days=1), time.min, UTC)
        wait = (tomorrow - self.now) // timedelta(seconds=1) + 1
        raise ReportLimitReached(
            f"{why} Nothing of this request was stored. Send it again after 00:00 UTC, or ask finance to raise the limit.",
            retry_after=wait,
        )


def limits() -> Limits:
    """Return the daily limits of each sender of the open scope's tenant."""
    row, at = ReportLimit.objects.first(), tenant_today()
    return limits_of((row.events, row.amount, row.currency) if row else None, at.currencies, at.currency)


def limits_of(own: tuple[int, Decimal, str] | None, currencies: Currencies, currency: str) -> Limits:
    """Return the limits that an organisation set for itself, else those of all; amounts in `currency`, restated if need be."""
    if own is not None:
        return Limits(own[0], Money(currencies.restated(own[1], own[2], currency), currency).rounded(), own=True)
    # Roughly equal value for currencies whose unit is worth a hundredth of others': those without minor units.
    scale = 2 - min(minor_decimals(currency), 2)
    return Limits(EVENTS_A_DAY, Money(COST_A_DAY.scaleb(scale), currency), own=False)


def lock_today(actor: Actor, now: datetime, within: Limits) -> SenderToday:
    """Lock a sender's row of the day of `now`, after the set of budgets and before the usage keys, to serialise its requests."""
    sender = actor.owner_id or UUID(int=0)
    arguments: dict[str, Any] = {"tenant": current_tenant_id(), "sender": sender, "day": now.astimezone(UTC).date()}
    with prepared_cursor() as cursor:
        cursor.execute(DAY, arguments)
        events, amount = cursor.fetchone()
    return SenderToday(sender, now, events, amount, within)


@operation(LIMIT_CHANGED)
def set_limits(*, actor: Actor, events: int, amount: Decimal) -> Limits:
    """Set the daily limits of each sender, per UTC day. Raises Invalid."""
    actor.require("budgets.manage")
    faults = {}
    if not 0 <= events <= MOST_EVENTS_A_DAY:
        faults["events"] = [f"Use a whole number from 0 to {MOST_EVENTS_A_DAY:,}."]
    if not (amount.is_finite() and 0 <= amount < LARGEST_COST):
        faults["amount"] = ["Use an amount from 0 to 10^15."]
    elif fault := fineness_fault(amount, tenant_today().currency):
        faults["amount"] = [fault]
    if faults:
        raise Invalid(fields=faults)
    counters.lock_budget_set(exclusive=True)
    before = limits()
    row = ReportLimit.objects.first() or ReportLimit()
    row.events, row.amount, row.currency = events, amount, before.amount.currency
    row.save()
    after = limits()
    changes = {"events": [before.events, after.events], "amount": [before.amount.json(), after.amount.json()]}
    record(LIMIT_CHANGED, actor=actor, target=row, changes=changes)
    return after
