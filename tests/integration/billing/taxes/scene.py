"""What tests of tax share: the seller's table of rates."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any

from billing.models import TaxRate
from billing.taxes import table
from tests.support import selling

SINCE = date(2007, 1, 1)


def enter(country: str = "DE", percent: str = "19", starts_on: date = SINCE, **more: Any) -> TaxRate:
    """Enter a rate as an operator."""
    rate = table.NewRate(
        **{"country": country, "name": "VAT", "percent": Decimal(percent), "starts_on": starts_on, **more}
    )
    with selling.role("exchequer_operator"):
        return table.enter(operator=selling.SELLER, rate=rate, reason="the law")
