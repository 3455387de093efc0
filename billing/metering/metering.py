"""Entry point of measured usage, in the caller's transaction: keys deduplicate, prices rate, holds pay, roll-ups sum."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC
from decimal import Decimal
from uuid import UUID

from billing.budgets.unreserved import count_unreserved
from billing.metering.rate import Settled, rate, settle_from_hold, zero_rate
from billing.metering.waivers import waive_usage
from billing.periods.months import bounds_of, lock_for_usage
from billing.pricing import price_books
from billing.queries import Billed, billed, billed_attempts
from billing.rating.quantity import FUTURE_LIMIT, LONGEST_INTERVAL, SHARE, WHOLE, count_refusal, refusal, share_refusal
from billing.usage import rollups, usage_keys
from billing.usage.intervals import Interval, claims, series_of
from billing.usage.usage_keys import UsageConflict
from tenants.errors import Invalid
from tenants.isolation.scoping import tenant_scope

__all__ = [
    "Billed",
    "Interval",
    "Recorded",
    "UsageConflict",
    "UsageRefused",
    "accept",
    "billed",
    "billed_attempts",
    "fault_of",
    "faults_of",
    "record_usage",
    "terms_of",
    "waive_usage",
]

NOTHING = Decimal(0)


class UsageRefused(Invalid):
    """Some of this usage is not valid; see the reasons beside the keys."""

    code = "usage_refused"


@dataclass(frozen=True, slots=True)
class Recorded:
    """Result of a batch. `accepted` intervals were new; `quantity` and `amount` are what they are charged with.

    `excluded` seconds lay outside the hold and are rated 0. `exhausted`: the hold, or a budget that stops running work
    (`refused_by`: hold or budget), has nothing left for the next second. `conflicts`: keys known with other content;
    `clashes`: the intervals that came with them.
    """

    accepted: int
    quantity: Decimal
    amount: Decimal
    exhausted: bool
    excluded: Decimal = NOTHING
    refused_by: str = ""
    conflicts: tuple[str, ...] = ()
    clashes: tuple[Interval, ...] = ()


def record_usage(intervals: Sequence[Interval], *, hold_id: UUID | None = None, held_only: bool = False) -> Recorded:
    """Accept usage in the open tenant scope and transaction; every effect depends on inserting its key.

    Usage is rated at the price in force at its time and settled from the hold; seconds that the hold does not cover are
    stored and rated 0. Without a hold usage is rated in full and counted against budgets as unreserved, except with
    `held_only`: then usage with a price is rated 0. Raises UsageRefused, before any effect, for invalid intervals or an
    unknown meter. A known key with other content is skipped, audited and listed in `conflicts`: raising would roll back
    the audit entry.
    """
    if not intervals:
        return Recorded(0, NOTHING, NOTHING, exhausted=False)
    lock_for_usage([item.start for item in intervals] + [item.end for item in intervals])
    terms = terms_of(intervals)
    faults = faults_of(intervals, terms)
    if faults:
        raise UsageRefused(fields=faults)
    claimed = usage_keys.claim(claims(intervals))
    segments = rate(claimed.fresh, terms)
    series = series_of(claimed.fresh)
    settled = Settled(NOTHING, exhausted=False, refused_by="")
    if hold_id is not None:
        settled = settle_from_hold(hold_id, segments, series)
    elif held_only:
        settled = replace(settled, excluded=zero_rate(segments))
    else:
        count_unreserved(segments, series)
    rollups.write(segments, series, zone=terms.zone)
    usage_keys.report(claimed.clashes)
    return Recorded(
        accepted=len(claimed.fresh),
        quantity=sum((segment.billable for segment in segments), NOTHING),
        amount=sum((segment.amount for segment in segments), NOTHING),
        exhausted=settled.exhausted,
        excluded=settled.excluded,
        refused_by=settled.refused_by,
        conflicts=claimed.conflicts,
        clashes=tuple(item.interval for item in claimed.clashes),
    )


def accept(*, tenant_id: UUID, intervals: Sequence[Interval]) -> Recorded:
    """Accept reported usage in its own transaction; the valid intervals are always stored.

    Raises after the commit: UsageConflict (409) with the keys known with other content, else UsageRefused (400) with
    the invalid intervals.
    """
    with tenant_scope(tenant_id):
        faults = faults_of(intervals, terms_of(intervals)) if intervals else {}
        recorded = record_usage([interval for interval in intervals if interval.key not in faults])
    if recorded.conflicts:
        raise UsageConflict(conflicts=list(recorded.conflicts), refused=faults)
    if faults:
        raise UsageRefused(fields=faults)
    return recorded


def terms_of(intervals: Sequence[Interval]) -> price_books.Terms:
    """Return the terms that rate these intervals, with the prices of their meters only."""
    moments = [item.start for item in intervals] + [item.end for item in intervals]
    bounds = bounds_of(moments)
    if bounds is not None:
        return price_books.terms(*bounds, meters={item.meter for item in intervals})
    zoned = [item for item in intervals if item.start.utcoffset() is not None and item.end.utcoffset() is not None]
    first = min((min(item.start, item.end) for item in zoned), default=None)
    last = max((max(item.start, item.end) for item in zoned), default=None)
    return price_books.terms(first, last, meters={item.meter for item in intervals})


def faults_of(intervals: Sequence[Interval], terms: price_books.Terms) -> dict[str, list[str]]:
    """Return why intervals cannot be usage, by key; most are sound seconds in UTC, which are looked at here at once."""
    latest, timed = terms.now + FUTURE_LIMIT, terms.timed & terms.meters.keys()
    faults = {}
    for item in intervals:
        start, end = item.start, item.end
        plain = start.tzinfo is UTC and end.tzinfo is UTC and item.quantity is None and item.meter in timed
        plain = plain and item.share == WHOLE
        if plain and start < end <= latest and end - start <= LONGEST_INTERVAL:
            continue
        if (reason := fault_of(item, terms)) is not None:
            faults[item.key] = [reason]
    return faults


def fault_of(item: Interval, terms: price_books.Terms) -> str | None:
    """Return why an interval cannot be usage; None if it can."""
    reason = refusal(item.start, item.end, terms.now)
    if reason is None and item.meter not in terms.meters:
        reason = f"there is no meter {item.meter}"
    counted = item.meter not in terms.timed
    return (
        reason
        or count_refusal(item.quantity, timed=not counted)
        or share_refusal(item.share, item.dims.get(SHARE), counted=counted)
    )
