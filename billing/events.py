"""Events that billing publishes."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from tenants.events.events import Event


@dataclass(frozen=True, kw_only=True)
class BudgetThresholdReached(Event):
    """Spending crossed a share (`percent`) of a budget in the local month that starts on `period`.

    `quiet`: the same charge crossed a higher threshold, whose report covers both.
    """

    budget_id: UUID
    period: str
    percent: int
    spent: Decimal
    limit: Decimal
    currency: str
    quiet: bool = False


@dataclass(frozen=True, kw_only=True)
class UsageWaived(Event):
    """The usage of an attempt is waived, because the platform failed."""

    attempt_id: UUID
    amount: Decimal
    currency: str
    reason: str
