"""Daily limits of senders, by number and by cost: a runaway sender cannot run up a bill."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

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
NONE: Mapping[str, Any] = {}
#: A reading may cost less than the one that it replaces; a sender's day does not fall below nothing.
COUNT = """
INSERT INTO billing_senderday AS d (id, tenant_id, sender_id, day, events, amount)
VALUES (gen_random_uuid(), %(tenant)s, %(day_of)s, %(day)s, %(day_events)s, greatest(%(day_amount)s::numeric, 0))
ON CONFLICT (tenant_id, sender_id, day) DO UPDATE
SET events = d.events + excluded.events, amount = greatest(d.amount + %(day_amount)s::numeric, 0)
RETURNING events, amount
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
    """What a sender has reported today, as far as it is committed; requests that are being stored add to it."""

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

    def count(self, events: int, amount: Decimal, beside: str = "", values: Mapping[str, Any] = NONE) -> None:
        """Add one request's events, and run a statement `beside` it with these values. Raises ReportLimitReached.

        Call it last: the sender's row stays locked until the transaction ends, and its other requests wait for it here.
        """
        self.require(events, amount)  # without waiting, where what is committed suffices
        own: dict[str, Any] = {"tenant": current_tenant_id(), "day_of": self.sender_id, "day": self.day}
        more = f", beside AS ({beside})" if beside else ""
        with prepared_cursor() as cursor:
            cursor.execute(
                f"WITH day AS ({COUNT}){more} SELECT events, amount FROM day",  # noqa: S608 (constants)
                {**values, **own, "day_events": events, "day_amount": amount},
            )
            counted, worth = cursor.fetchone()
        replace(self, events=counted - events, amount=worth - amount).require(events, amount)

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


def sender_of(actor: Actor) -> UUID:
    """Return whose day an actor's reports count in."""
    return actor.owner_id or UUID(int=0)


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
