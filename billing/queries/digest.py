"""The one figure about a tenant's money that operators may see."""

from __future__ import annotations

from decimal import Decimal

from billing.queries.spend import month_to_date


def digest() -> dict[str, Decimal]:
    """Return the cost of the open scope's running month."""
    return {"month_spend": month_to_date().cost.amount}
