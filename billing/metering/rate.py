"""Rate accepted intervals as segments, and settle them from a hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import groupby
from uuid import UUID

from billing.budgets import holds
from billing.periods.months import billing_of
from billing.pricing.price_books import PricePoint, Terms, point_in
from billing.rating.calendar import local_day, period_of, quarter_of, split
from billing.rating.flat import QUANTITY_QUANTUM, affordable, charge
from billing.rating.quantity import seconds_between
from billing.rating.selection import starts_within
from billing.usage.intervals import Interval, KeyClaim, Series
from billing.usage.rollups import Segment
from tenants.errors import Invalid

NOTHING = Decimal(0)
ONE = Decimal(1)


def rate(claims: Sequence[KeyClaim], terms: Terms, batch_id: UUID | None = None) -> list[Segment]:
    """Split intervals at quarter hours and price starts and rate each segment at the price in force at its time.

    A count is one segment at its start. A segment without a matching price is measured and free. Usage of a closed
    month is billed by the first open one.
    """
    segments: list[Segment] = []
    days: dict[datetime, date] = {}
    starts = [listed.effective_at for listed in terms.lists]
    prices: dict[tuple[bytes, str, int], PricePoint | None] = {}
    for item in claims:
        usage = item.interval
        counted = usage.quantity is not None
        whole = [(usage.start.astimezone(UTC), usage.end.astimezone(UTC))]
        spans = whole if counted else split(usage.start, usage.end, starts_within(terms.lists, usage.start, usage.end))
        for part, (start, end) in enumerate(spans):
            # Started lists: between two starts the same price applies to the same series.
            key = (item.series.hash, usage.meter, sum([begins <= start for begins in starts]))
            if key not in prices:
                prices[key] = point_in(terms.lists, usage.meter, usage.dims, start)
            price = prices[key]
            quarter = quarter_of(start)
            if quarter not in days:
                days[quarter] = local_day(quarter, terms.zone)
            quantity = seconds_between(start, end) if usage.quantity is None else usage.quantity
            segment = Segment(
                key_hash=item.key_hash,
                part=part,
                series=item.series.hash,
                start=start,
                end=end,
                period=period_of(days[quarter]),
                day=days[quarter],
                meter_id=terms.meters[usage.meter],
                project_id=usage.project_id,
                price_id=price.price_id if price else None,
                measured=quantity,
                billable=NOTHING,
                amount=NOTHING,
                unit_amount=price.unit_amount if price else NOTHING,
                list_amount=price.list_amount if price else None,
                counted=counted,
                batch_id=batch_id,
            )
            if price:
                segment.bill(quantity)
            segments.append(segment)
    billing = billing_of(days.values(), terms.closed)
    for segment in segments:
        segment.period = billing.of(segment.day)
    return segments


def most_cost(usage: Interval, terms: Terms) -> Decimal:
    """Return the maximum cost of an interval: all of it at the highest price that applies at any time."""
    moments = [usage.start, *starts_within(terms.lists, usage.start, usage.end)]
    points = [point_in(terms.lists, usage.meter, usage.dims, at) for at in moments]
    quantity = seconds_between(usage.start, usage.end) if usage.quantity is None else usage.quantity
    return max(charge(quantity, point.unit_amount) if point else NOTHING for point in points)


def zero_rate(segments: Sequence[Segment]) -> Decimal:
    """Charge nothing for segments that only a hold may pay if there is none; return their units. Free segments stay."""
    priced = [segment for segment in segments if segment.amount]
    excluded = sum((segment.billable for segment in priced), NOTHING)
    for segment in priced:
        segment.bill(NOTHING)
    return excluded


@dataclass(frozen=True, slots=True)
class Settled:
    """What a hold paid: the units it did not cover, and whether and by what it is used up."""

    excluded: Decimal
    exhausted: bool
    refused_by: str


def settle_from_hold(hold_id: UUID, segments: list[Segment], series: Mapping[bytes, Series]) -> Settled:
    """Settle segments from a hold, earliest first; what it does not cover stays measured and is rated 0.

    At the start of a month the rest of the hold moves to that month's budgets; usage of the previous month still counts
    as spent there. Raises NotFound for an unknown hold, Invalid for usage of another project than the hold's.
    """
    # All counters in one statement: one locked later could precede a locked one and cause a deadlock.
    state = holds.lock(hold_id, {segment.month for segment in segments})
    _, settled = settle_segments(state, segments, series)
    return settled


def settle_segments(
    state: holds.HoldState,
    segments: list[Segment],
    series: Mapping[bytes, Series],
    rest: list[Segment] | None = None,
    batch_id: UUID | None = None,
) -> tuple[holds.HoldState, Settled]:
    """Settle segments from a locked hold, as `settle_from_hold` does; return the hold as it then is, too.

    With `rest`, what the hold does not cover is cut off and added there, at its full price, instead of being rated 0.
    `batch_id`: the request that reported them.
    """
    segments.sort(key=lambda segment: (segment.start, segment.key_hash))
    excluded, refused_by, short = NOTHING, "", False
    for period, group in groupby(segments, key=lambda segment: segment.month):
        state = holds.roll_over(state, period)
        left, charges = state.headroom_in(period), dict[UUID | None, Decimal]()
        for segment in group:
            if segment.project_id != state.project_id:
                raise Invalid("The hold belongs to another project than the usage.")
            segment.hold_id = state.id
            quantum = ONE if segment.counted else QUANTITY_QUANTUM  # nobody is charged for half a request
            is_open = state.state == holds.OPEN
            fits = affordable(left, segment.unit_amount, segment.billable, quantum) if is_open else NOTHING
            if fits < segment.billable:
                # A past month without headroom does not limit the next second.
                if period >= state.period:
                    short, refused_by = True, refused_by or state.refused_by
                excluded += segment.billable - fits
                if rest is None:
                    segment.bill(fits)
                elif fits:
                    rest.append(segment.cut(fits))
                else:
                    segment.hold_id = None
                    rest.append(segment)
                    continue
            if segment.amount:
                left -= segment.amount
                attempt_id = series[segment.series].attempt_id
                charges[attempt_id] = charges.get(attempt_id, NOTHING) + segment.amount
        state = holds.settle(state, period, charges, batch_id)
    exhausted = short or state.headroom <= 0
    return state, Settled(excluded, exhausted, (refused_by or state.refused_by) if exhausted else "")
