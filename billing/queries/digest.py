"""The figures about a tenant's money that operators may see."""

from __future__ import annotations

from typing import Any

from billing.queries.budgets import WHOLE, budgets
from billing.queries.spend import month_to_date


def digest() -> dict[str, Any]:
    """Return the cost of the open scope's running month and of the one before it up to the same day, and how its budget stands.

    The budget is the shortest of the whole tenant.
    """
    month = month_to_date()
    cost = month.cost
    of_all = [one for one in budgets() if one.scope == WHOLE and one.currency == cost.currency]
    shortest = of_all[0] if of_all else None
    return {
        "currency": cost.currency,
        "month_spend": cost.amount,
        "spend_before": month.previous_to_date.amount,
        "currency_before": month.previous_to_date.currency,
        "budget_limit": shortest.limit.amount if shortest else None,
        "budget_spent": shortest.spent.amount if shortest else 0,
        "budget_period": shortest.length if shortest else "",
    }
