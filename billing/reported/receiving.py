"""Receive reported usage: store it under its sender, or hold it for review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from billing.metering.rate import rate
from billing.models import HeldEvent, UsageBatch
from billing.models.outside import ACCEPTED, BEFORE_PRICES, OLD, UNPRICED, WAITING
from billing.pricing.price_books import Terms
from billing.reported.holds.settling import settle_reported
from billing.reported.sender_limits import SenderToday
from billing.usage import rollups, usage_keys
from billing.usage.intervals import Interval, KeyClaim, claims, series_of
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.ids import uuid7
from tenants.notifications.notifications import notify
from tenants.quotas import person_of

USAGE_RECEIVED = AuditAction("billing.usage.received")
OLDEST = timedelta(days=35)
MOST_QUARTERS = 5_000
"""The budgets stay locked until every segment is stored; running work waits no longer than a heartbeat can."""
WHY = {
    OLD: "older than 35 days",
    BEFORE_PRICES: "from before the first price",
    UNPRICED: "no price matches",
}


@dataclass(frozen=True, slots=True)
class Receipt:
    """Result of a request: which events were new and are counted, which wait for review, which clashed.

    `counted` holds Python ids of intervals, `held` and `rejected` with the reason why they are not counted.
    """

    counted: Set[int]
    held: Mapping[int, str]
    rejected: Mapping[int, str]
    clashes: Sequence[Interval]


def review_reason(item: Interval, terms: Terms) -> str:
    """Return why usage needs a review before it is counted; empty if it does not."""
    if item.end < terms.now - OLDEST:
        return OLD
    if not terms.started(item.start):
        return BEFORE_PRICES
    moments = [item.start] if item.quantity is not None else [item.start, *terms.starts_within(item.start, item.end)]
    priced = all(terms.price(item.meter, item.dims, at) is not None for at in moments)
    return "" if priced else UNPRICED


@operation(USAGE_RECEIVED)
def receive(
    *, actor: Actor, intervals: Sequence[Interval], reasons: Mapping[int, str], terms: Terms, today: SenderToday
) -> Receipt:
    """Store validated intervals under their sender; those with a reason wait for review, and cost nothing until then.

    `reasons` is by index in `intervals`. Part of one transaction with the locks of the set of budgets and of the
    sender's day. Raises ReportLimitReached and stores nothing.
    """
    actor.require("usage.ingest")
    batch_id = uuid7()
    listed = claims(intervals)
    why = {id(item.interval): reasons[number] for number, item in enumerate(listed) if number in reasons}
    claimed = usage_keys.claim(listed, batch_id)
    counted = [item for item in claimed.fresh if id(item.interval) not in why]
    waiting = [item for item in claimed.fresh if id(item.interval) in why]
    person = person_of(actor)
    rated, series = rate(counted, terms, batch_id), series_of(counted)
    segments = settle_reported(rated, counted, series, terms.currency, {batch_id: person})
    amount = sum((segment.amount for segment in segments), Decimal(0))
    today.count(len(claimed.fresh), amount)
    rollups.write(segments, series, currency=terms.currency, zone=terms.zone)
    if claimed.fresh:
        batch = UsageBatch.objects.create(
            id=batch_id,
            sender_kind=actor.kind,
            sender_id=actor.id,
            sender=actor.label[:254],
            person=person,
            accepted=len(counted),
            held=len(waiting),
            amount=amount,
            currency=terms.currency,
        )
        if waiting and not HeldEvent.objects.filter(state=WAITING).exists():
            notify(
                permission="invoices.manage",
                kind="usage",
                title="Reported usage is waiting for review",
                body=f"{batch.sender} reported usage that is old or has no price. It is counted only after a member accepts it.",
                path="reported/",
            )
        HeldEvent.objects.bulk_create([_held(batch, item, why[id(item.interval)]) for item in waiting])
        changes: dict[str, Any] = {"accepted": [None, len(counted)], "held": [None, len(waiting)]}
        changes |= {"amount": [None, amount], "currency": [None, terms.currency]} if amount else {}
        record(USAGE_RECEIVED, actor=actor, target=batch, changes=changes)
    else:
        unchanged("every event was known")
    usage_keys.report(claimed.clashes)
    fresh = {id(item) for item in counted}
    held, rejected = _undecided(
        [item for item in listed if id(item) not in fresh], {id(item.interval) for item in claimed.clashes}
    )
    return Receipt({id(item.interval) for item in counted}, held, rejected, [item.interval for item in claimed.clashes])


def _held(batch: UsageBatch, item: KeyClaim, reason: str) -> HeldEvent:
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
        quantity=usage.quantity,
        dims=dict(usage.dims),
        reason=reason,
    )


def _undecided(listed: Sequence[KeyClaim], clashing: set[int]) -> tuple[dict[int, str], dict[int, str]]:
    """Return which of these events, which are not newly counted, wait or were rejected, now or earlier."""
    if not listed:
        return {}, {}
    rows = HeldEvent.objects.filter(key_hash__in=[item.key_hash for item in listed]).exclude(state=ACCEPTED)
    found = {bytes(key): (state, reason) for key, state, reason in rows.values_list("key_hash", "state", "reason")}
    held: dict[int, str] = {}
    rejected: dict[int, str] = {}
    for item in listed:
        if item.key_hash in found and id(item.interval) not in clashing:
            state, reason = found[item.key_hash]
            (held if state == WAITING else rejected)[id(item.interval)] = WHY[reason]
    return held, rejected
