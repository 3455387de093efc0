"""Defaults of a new tenant: its meters and one price list, in its own currency."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

DEVICE_SECONDS = "device_seconds"
BATCH_SECONDS = "batch_seconds"
INFERENCE_REQUESTS = "inference_requests"
INFERENCE_MS = "inference_ms"
SLOT_SECONDS = "serving.slot_seconds"
SECOND = "second"
#: Meters of time on devices: only their seconds add up to device hours.
DEVICE_TIME = (DEVICE_SECONDS, BATCH_SECONDS)


@dataclass(frozen=True, slots=True)
class MeterSpec:
    """A meter to create."""

    key: str
    title: str
    unit: str
    event_type: str


@dataclass(frozen=True, slots=True)
class PriceSpec:
    """A price to publish in the first version; `list_amount` if it is less than the list price."""

    meter: str
    dims: Mapping[str, str]
    unit_amount: Decimal
    list_amount: Decimal | None = None


METERS = (
    MeterSpec(DEVICE_SECONDS, "Device time", SECOND, "device.seconds"),
    MeterSpec(BATCH_SECONDS, "Batch prediction time", SECOND, "batch.seconds"),
    MeterSpec(INFERENCE_REQUESTS, "Requests answered", "request", "inference.requests"),
    MeterSpec(INFERENCE_MS, "Inference compute", "millisecond", "inference.milliseconds"),
    MeterSpec(SLOT_SECONDS, "Endpoint slot time", SECOND, "serving.slot_seconds"),
)
# The most specific price applies: the host's own CPU class is cheap, any other is not. Spot is less than on demand.
_DEVICE_TIME: tuple[tuple[Mapping[str, str], str, str | None], ...] = (
    ({"device_class": "cpu"}, "0.0005", None),
    ({"device_class": "cpu", "tier": "spot"}, "0.0002", "0.0005"),
    ({}, "0.0025", None),
    ({"tier": "spot"}, "0.001", "0.0025"),
)
PRICES = (
    *(
        PriceSpec(meter, dims, Decimal(amount), None if listed is None else Decimal(listed))
        for meter in (DEVICE_SECONDS, BATCH_SECONDS)
        for dims, amount, listed in _DEVICE_TIME
    ),
    PriceSpec(INFERENCE_REQUESTS, {}, Decimal("0.00002")),
    PriceSpec(INFERENCE_MS, {}, Decimal("0.0000005")),
    # An endpoint pays per prediction. To sell slots by the second, add a price here.
    PriceSpec(SLOT_SECONDS, {}, Decimal(0)),
)
