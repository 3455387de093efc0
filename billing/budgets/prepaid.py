"""Prepaid work: what holds reserve lies within the wallet, as it does within budgets."""

from __future__ import annotations

from decimal import Decimal

from billing.budgets.counters import BudgetExceeded
from billing.credit.queries import standing
from billing.money import Money

UNLIMITED = Decimal("Infinity")


def require(amount: Money) -> None:
    """Lock a prepaid wallet, if there is one; raise BudgetExceeded unless it has `amount` available."""
    found = standing(amount.currency, lock=True)
    if found is not None and found.available < amount.amount:
        left = Money(found.available, amount.currency)
        raise BudgetExceeded(
            f"{amount.plain()} asked, {left.plain()} left in the wallet. Top it up, or wait for running work to end.",
            left=left.json(),
            asked=amount.json(),
        )


def running_headroom(currency: str) -> Decimal:
    """Lock a prepaid wallet, and return what running work may still use up; UNLIMITED without one."""
    found = standing(currency, lock=True)
    return UNLIMITED if found is None else found.running
