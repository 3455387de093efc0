"""Void readings, and accept those that waited: their series count what is left, in the caller's operation."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from decimal import Decimal
from uuid import UUID

from billing.models import HeldEvent, Meter, MeterReading
from billing.pricing.price_books import Terms
from billing.rating.aggregation import OF_READINGS
from billing.rating.calendar import local_day, period_of
from billing.reported.readings import counting, stored
from billing.reported.readings.counting import Beside
from billing.reported.readings.stored import Stored
from billing.reported.returns import Taken
from billing.usage.intervals import KeyClaim
from tenants import clock


def void_readings(keys: Collection[bytes], beside: Sequence[Taken], reason: str) -> tuple[set[bytes], Decimal]:
    """Void readings, and take back `beside`, other usage; return the keys that were not voided before, and how much less is charged.

    That is below zero if what counts in their place costs more. Raises TooManyPieces.
    """
    found = stored.by_key(keys)
    stored.lock_series([one.group_hash for one in found])
    live = MeterReading.objects.filter(key_hash__in=list(keys), voided_at=None)
    voided = set(map(bytes, live.values_list("key_hash", flat=True)))
    live.update(voided_at=clock.DatabaseNow())
    found = [one for one in found if one.key_hash in voided]
    return voided, -counting.count(found, reason=reason, beside=Beside(taken=beside)).net


def of_readings(rows: Sequence[HeldEvent]) -> dict[str, str]:
    """Return the aggregations of those meters of held events that take readings, by key."""
    found = Meter.objects.filter(key__in={row.meter for row in rows}, aggregation__in=OF_READINGS)
    return dict(found.values_list("key", "aggregation"))


def accept_readings(
    accepted: Sequence[tuple[HeldEvent, KeyClaim]], kinds: Mapping[str, str], terms: Terms, beside: Beside
) -> dict[UUID, Decimal]:
    """Store held readings and count their series, and `beside`, other usage; return what each request added.

    Raises TooManyPieces.
    """
    new = [
        Stored(
            key_hash=bytes(row.key_hash),
            group_hash=stored.group_of(item.interval, terms.meters[row.meter]),
            meter=row.meter,
            meter_id=terms.meters[row.meter],
            aggregation=kinds[row.meter],
            project_id=row.project_id,
            batch_id=row.batch_id,
            period=period_of(local_day(row.starts_at, terms.zone)),
            at=row.starts_at,
            value=row.quantity or Decimal(0),
            label=row.label,
            source=row.source,
            resource=row.resource,
            dims=row.dims,
            hold_id=None,
        )
        for row, item in accepted
    ]
    stored.lock_series([one.group_hash for one in new])
    stored.store(new)
    added = counting.count(new, beside=beside).added
    return {batch_id: amount for batch_id, amount in added.items() if batch_id}
