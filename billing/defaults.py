"""What a new tenant starts with: one meter and one price list, in its own currency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

DEVICE_SECONDS = "device_seconds"
SECOND = "second"


@dataclass(frozen=True, slots=True)
class MeterSpec:
    """A meter to create."""

    key: str
    title: str
    unit: str
    event_type: str


@dataclass(frozen=True, slots=True)
class PriceSpec:
    """A price to publish in the first version."""

    meter: str
    dims: Mapping[str, str]
    unit_amount: Decimal


METERS = (MeterSpec(DEVICE_SECONDS, "Device time", SECOND, "device.seconds"),)
# The more dimensions a price names, the more it rules: the host's own class is cheap, any other is not.
PRICES = (
    PriceSpec(DEVICE_SECONDS, {"device_class": "cpu"}, Decimal("0.0005")),
    PriceSpec(DEVICE_SECONDS, {"device_class": "cpu", "tier": "spot"}, Decimal("0.0002")),
    PriceSpec(DEVICE_SECONDS, {}, Decimal("0.0025")),
    PriceSpec(DEVICE_SECONDS, {"tier": "spot"}, Decimal("0.001")),
)
