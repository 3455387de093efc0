"""What billing tells other rooms."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from tenants.events.events import Event


@dataclass(frozen=True, kw_only=True)
class BudgetThresholdReached(Event):
    """Spending passed a share (`percent`) of a budget in the local month that starts on `period`.

    `quiet`: the same charge passed a higher one, which tells of both.
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
    """The usage of an attempt is charged with nothing: the platform failed."""

    attempt_id: UUID
    amount: Decimal
    currency: str
    reason: str
