"""Receive reported usage: store it under its sender, or hold it for review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta

from billing.budgets.unreserved import People
from billing.metering.rate import rate
from billing.models.outside import BEFORE_PRICES, OLD, UNPRICED, WAITING
from billing.pricing.price_books import Terms
from billing.reported.batches import USAGE_RECEIVED, close_batch, new_batch, store_batch, undecided, waits
from billing.reported.ground import Ground
from billing.reported.holds.settling import settle_reported
from billing.usage import rollups, usage_keys
from billing.usage.intervals import Interval, KeyClaim, claims, series_of
from tenants.access.actor import Actor
from tenants.audit import operation, unchanged
from tenants.ids import uuid7

OLDEST = timedelta(days=35)
MOST_QUARTERS = 5_000
"""The budgets stay locked until every segment is stored; running work waits no longer than a heartbeat can."""


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


@operation(USAGE_RECEIVED, savepoint=False)
def receive(
    *, actor: Actor, intervals: Sequence[Interval], reasons: Mapping[int, str], terms: Terms, ground: Ground
) -> Receipt:
    """Store validated intervals under their sender; those with a reason wait for review, and cost nothing until then.

    `reasons` is by index in `intervals`. Ends the transaction that locked the ground: raises ReportLimitReached and
    stores nothing.
    """
    actor.require("usage.ingest")
    batch_id = uuid7()
    listed = claims(intervals)
    why = {id(item.interval): reasons[number] for number, item in enumerate(listed) if number in reasons}
    # Rated before the keys are locked, on which others may wait; most are new.
    first: dict[bytes, KeyClaim] = {}
    for item in listed:
        first.setdefault(item.key_hash, item)
    rated = rate([item for item in first.values() if id(item.interval) not in why], terms, batch_id)
    claimed = usage_keys.claim(listed, batch_id)
    counted = [item for item in claimed.fresh if id(item.interval) not in why]
    waiting = [item for item in claimed.fresh if id(item.interval) in why]
    if len(claimed.fresh) < len(first):
        new = {item.key_hash for item in claimed.fresh}
        rated = [segment for segment in rated if segment.key_hash in new]
    batch, series = new_batch(actor, batch_id, terms.currency), series_of(counted)
    people: People = {batch_id: batch.person}
    segments = settle_reported(rated, counted, series, people, budgeted=ground.budgeted)
    if claimed.fresh:
        amount = terms.currencies.worth(segments, terms.currency)
        batch.accepted, batch.held, batch.amount = len(counted), len(waiting), amount
        ground.today.require(batch.accepted + batch.held, amount)  # before the largest part is written in vain
        rollups.write(segments, series, zone=terms.zone)
        store_batch(batch, ground.today)
        close_batch(actor, batch, [waits(batch, item, why[id(item.interval)]) for item in waiting], amount)
    else:
        unchanged("every event was known")
    usage_keys.report(claimed.clashes)
    fresh = {id(item) for item in counted}
    held, rejected = _undecided(
        [item for item in listed if id(item) not in fresh], {id(item.interval) for item in claimed.clashes}
    )
    return Receipt({id(item.interval) for item in counted}, held, rejected, [item.interval for item in claimed.clashes])


def _undecided(listed: Sequence[KeyClaim], clashing: set[int]) -> tuple[dict[int, str], dict[int, str]]:
    """Return which of these events, which are not newly counted, wait or were rejected, now or earlier."""
    found = undecided(listed)
    held: dict[int, str] = {}
    rejected: dict[int, str] = {}
    for item in listed:
        if item.key_hash in found and id(item.interval) not in clashing:
            state, reason = found[item.key_hash]
            (held if state == WAITING else rejected)[id(item.interval)] = reason
    return held, rejected
