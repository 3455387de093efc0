"""What the integration tests of billing share."""

from decimal import Decimal

import pytest

#: Prices of the billing tests, independent of a new tenant's defaults.
LIST = (
    ({"device_class": "cpu"}, "0.00005"),
    ({"device_class": "cpu", "zone": "north"}, "0.00002"),
    ({}, "0.0007"),
    ({"zone": "north"}, "0.00028"),
)


@pytest.fixture(autouse=True)
def _price_list(monkeypatch: pytest.MonkeyPatch) -> None:
    from billing.defaults import DEVICE_SECONDS, PriceSpec
    from billing.pricing import publishing

    prices = tuple(PriceSpec(DEVICE_SECONDS, dims, Decimal(amount)) for dims, amount in LIST)
    monkeypatch.setattr(publishing, "PRICES", prices)
