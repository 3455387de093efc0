"""The figures about a tenant's money that operators may see."""

from __future__ import annotations

from typing import Any

from billing.queries.budgets import WHOLE, budgets
from billing.queries.spend import month_to_date


def digest() -> dict[str, Any]:
    """Return the cost of the open scope's running month, and how its budget stands: the shortest of the whole tenant."""
    cost = month_to_date().cost
    of_all = [one for one in budgets() if one.scope == WHOLE and one.currency == cost.currency]
    shortest = of_all[0] if of_all else None
    return {
        "month_spend": cost.amount,
        "budget_limit": shortest.limit.amount if shortest else None,
        "budget_spent": shortest.spent.amount if shortest else 0,
        "budget_period": shortest.length if shortest else "",
    }
