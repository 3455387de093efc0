"""Store readings under their sender, and count what their series come to; old and unpriced ones wait for review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

from billing.models import UsageBatch
from billing.pricing.price_books import Terms
from billing.rating.calendar import local_day, period_of
from billing.reported.batches import USAGE_RECEIVED, close_batch, new_batch, undecided, waits
from billing.reported.readings import counting, stored
from billing.reported.readings.arriving import Arrival
from billing.reported.readings.stored import Stored
from billing.reported.sender_limits import SenderToday
from billing.usage import usage_keys
from billing.usage.intervals import Interval, KeyClaim, claims
from tenants.access.actor import Actor
from tenants.audit import operation, unchanged
from tenants.ids import uuid7


@dataclass(frozen=True, slots=True)
class Receipt:
    """Which readings were new and are counted; by place, the state and reason of those that are not; which clashed."""

    counted: Sequence[int]
    held: Mapping[int, tuple[str, str]]
    clashes: Sequence[int]


@operation(USAGE_RECEIVED)
def receive(
    *,
    actor: Actor,
    readings: Sequence[tuple[Arrival, Interval]],
    reasons: Mapping[int, str],
    terms: Terms,
    today: SenderToday,
) -> Receipt:
    """Store validated readings under their sender; those with a reason wait for review, and count nothing until then.

    `reasons` is by index in `readings`. Part of one transaction with the lock of the set of budgets. Raises ReportLimitReached, TooManyPieces.
    """
    actor.require("usage.ingest")
    batch_id = uuid7()
    listed = claims(usage for _, usage in readings)
    places = {id(item): place for place, item in enumerate(listed)}
    claimed = usage_keys.claim(listed, batch_id)
    fresh = [places[id(item)] for item in claimed.fresh]
    counted = [place for place in fresh if place not in reasons]
    waiting = [place for place in fresh if place in reasons]
    if fresh:
        batch = new_batch(actor, batch_id, terms.currency)
        batch.accepted, batch.held = len(counted), len(waiting)
        batch.save(force_insert=True)
        new = [_stored(listed[place], readings[place][0], batch, terms) for place in counted]
        amount = _count(new, batch, today, len(fresh))
        held = [
            waits(
                batch, listed[place], reasons[place], quantity=readings[place][0].value, label=readings[place][0].label
            )
            for place in waiting
        ]
        close_batch(actor, batch, held, amount)
    else:
        unchanged("every event was known")
    usage_keys.report(claimed.clashes)
    clashes = [places[id(item)] for item in claimed.clashes]
    return Receipt(counted, _uncounted(listed, set(clashes)), clashes)


def _count(new: Sequence[Stored], batch: UsageBatch, today: SenderToday, events: int) -> Decimal:
    """Count new readings; return what the request itself added."""
    amount = Decimal(0)
    net = Decimal(0)
    if new:
        stored.lock_series([one.group_hash for one in new])
        stored.store(new)
        counted = counting.count(new)
        amount, net = counted.added.get(batch.pk, Decimal(0)), counted.net
    today.count(events, net)
    if amount:
        UsageBatch.objects.filter(pk=batch.pk).update(amount=amount)
    return amount


def _stored(item: KeyClaim, one: Arrival, batch: UsageBatch, terms: Terms) -> Stored:
    usage = item.interval
    meter_id = terms.meters[usage.meter]
    return Stored(
        key_hash=item.key_hash,
        group_hash=stored.group_of(usage, meter_id),
        meter=usage.meter,
        meter_id=meter_id,
        aggregation=one.aggregation,
        project_id=usage.project_id,
        batch_id=batch.pk,
        period=period_of(local_day(usage.start, terms.zone)),
        at=usage.start,
        value=one.value,
        label=one.label,
        source=usage.source,
        resource=usage.resource,
        dims=usage.dims,
        hold_id=usage.hold_id,
    )


def _uncounted(listed: Sequence[KeyClaim], clashing: set[int]) -> dict[int, tuple[str, str]]:
    """Return the state and reason of those readings that are not counted, new or known: waiting, or rejected."""
    found = undecided(listed)
    return {
        place: found[item.key_hash]
        for place, item in enumerate(listed)
        if item.key_hash in found and place not in clashing
    }
