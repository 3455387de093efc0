"""Store readings under their sender, and count what their series come to; old and unpriced ones wait for review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from billing.models import HeldEvent, UsageBatch
from billing.models.outside import ACCEPTED, WAITING
from billing.pricing.price_books import Terms
from billing.rating.calendar import local_day, period_of
from billing.reported.readings import counting, stored
from billing.reported.readings.arriving import Arrival
from billing.reported.readings.stored import Stored
from billing.reported.receiving import USAGE_RECEIVED, WHY
from billing.reported.sender_limits import SenderToday
from billing.usage import usage_keys
from billing.usage.intervals import Interval, KeyClaim, claims
from tenants.access.actor import Actor
from tenants.audit import operation, record, unchanged
from tenants.ids import uuid7
from tenants.notifications.notifications import notify
from tenants.quotas import person_of


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

    `reasons` is by index in `readings`. Part of one transaction with the locks of the set of budgets and of the sender's
    day. Raises ReportLimitReached, TooManyPieces.
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
        person = person_of(actor)
        batch = UsageBatch.objects.create(
            id=batch_id,
            sender_kind=actor.kind,
            sender_id=actor.id,
            sender=actor.label[:254],
            person=person,
            accepted=len(counted),
            held=len(waiting),
            amount=Decimal(0),
            currency=terms.currency,
        )
        new = [_stored(listed[place], readings[place][0], batch, terms) for place in counted]
        amount = _count(new, batch, today, len(fresh))
        if waiting and not HeldEvent.objects.filter(state=WAITING).exists():
            notify(
                permission="invoices.manage",
                kind="usage",
                title="Reported usage is waiting for review",
                body=f"{batch.sender} reported usage that is old or has no price. It is counted only after a member accepts it.",
                path="reported/",
            )
        HeldEvent.objects.bulk_create(
            _held(batch, listed[place], readings[place][0], reasons[place]) for place in waiting
        )
        changes: dict[str, Any] = {"accepted": [None, len(counted)], "held": [None, len(waiting)]}
        changes |= {"amount": [None, amount], "currency": [None, terms.currency]} if amount else {}
        record(USAGE_RECEIVED, actor=actor, target=batch, changes=changes)
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
    # A reading may cost less than the one that it replaces; a sender's day does not fall below nothing.
    today.count(events, max(net, -today.amount))
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


def _held(batch: UsageBatch, item: KeyClaim, one: Arrival, reason: str) -> HeldEvent:
    usage = item.interval
    return HeldEvent(
        batch=batch,
        key_hash=item.key_hash,
        source=usage.source,
        key=usage.key,
        meter=usage.meter,
        resource=usage.resource,
        project_id=usage.project_id,
        starts_at=usage.start,
        ends_at=usage.end,
        quantity=one.value,
        label=one.label,
        dims=dict(usage.dims),
        reason=reason,
    )


def _uncounted(listed: Sequence[KeyClaim], clashing: set[int]) -> dict[int, tuple[str, str]]:
    """Return the state and reason of those readings that are not counted, new or known: waiting, or rejected."""
    rows = HeldEvent.objects.filter(key_hash__in=[item.key_hash for item in listed]).exclude(state=ACCEPTED)
    found = {bytes(key): (state, WHY[reason]) for key, state, reason in rows.values_list("key_hash", "state", "reason")}
    return {
        place: found[item.key_hash]
        for place, item in enumerate(listed)
        if item.key_hash in found and place not in clashing
    }
