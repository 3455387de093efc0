"""What the integration tests of one room share."""

from decimal import Decimal

import pytest

#: Prices that the billing tests count with; what a new tenant starts with may change without touching them.
LIST = (
    ({"device_class": "cpu"}, "0.00005"),
    ({"device_class": "cpu", "tier": "spot"}, "0.00002"),
    ({}, "0.0007"),
    ({"tier": "spot"}, "0.00028"),
)


@pytest.fixture(autouse=True)
def _price_list(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.path.name.startswith("test_billing"):
        from billing import pricing
        from billing.defaults import DEVICE_SECONDS, PriceSpec

        prices = tuple(PriceSpec(DEVICE_SECONDS, dims, Decimal(amount)) for dims, amount in LIST)
        monkeypatch.setattr(pricing, "PRICES", prices)
