"""What operators of the platform may know of a tenant's money: one figure."""

from __future__ import annotations

from decimal import Decimal

from billing.queries.spend import month_to_date


def digest() -> dict[str, Decimal]:
    """Return the cost of the open scope's running month."""
    return {"month_spend": month_to_date().cost.amount}
