"""Rate accepted intervals as segments, and settle them from a hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from itertools import groupby
from uuid import UUID

from billing.budgets import holds
from billing.periods.months import billing_of
from billing.pricing.price_books import Terms
from billing.rating.calendar import EPOCH, QUARTER, hour_of, local_day, period_of, split
from billing.rating.flat import QUANTITY_QUANTUM, affordable, charge
from billing.rating.quantity import WHOLE, seconds_between, seconds_of_part
from billing.usage.intervals import Interval, KeyClaim, Series
from billing.usage.rollups import Place, Segment, Tariff
from tenants.errors import Invalid

NOTHING = Decimal(0)
ONE = Decimal(1)


def rate(claims: Sequence[KeyClaim], terms: Terms, batch_id: UUID | None = None) -> list[Segment]:
    """Split intervals at quarter hours and price starts and rate each segment at the price in force at its time.

    A count is one segment at its start. A segment without a matching price is measured and free. Usage of a closed
    month is billed by the first open one.
    """
    segments: list[Segment] = []
    places = Places(terms)
    last: dict[int, Spot] = {}
    for item in claims:
        start, end = item.start, item.end
        spot = last.get(id(item.kind))
        if spot is None or start < spot[1] or start >= spot[2]:
            spot = last[id(item.kind)] = places.at(item, start)
        place, _, until = spot
        quantity = item.interval.quantity
        if quantity is not None:
            rated = place.tariff.rated(quantity)
        elif end <= until:
            span = end - start
            if item.interval.share != WHOLE:
                rated = place.tariff.rated(seconds_of_part(span, item.interval.share))
            else:
                rated = place.tariff.of_spans.get(span) or place.tariff.lasting(span)
        else:
            segments += _parts(item, terms, places, batch_id)
            continue
        measured, billable, amount, discount = rated
        segments.append(
            Segment(place, item.key_hash, 0, start, end, measured, billable, amount, discount, None, batch_id)
        )
    places.bill_later()
    return segments


def _parts(item: KeyClaim, terms: Terms, places: Places, batch_id: UUID | None) -> list[Segment]:
    """Return the segments of a time that is longer than its first quarter hour or price."""
    found = []
    for part, (start, end) in enumerate(split(item.start, item.end, terms.starts_within(item.start, item.end))):
        place, _, _ = places.at(item, start)
        rated = place.tariff.rated(seconds_of_part(end - start, item.interval.share))
        found.append(Segment(place, item.key_hash, part, start, end, *rated, None, batch_id))
    return found


#: A place, and from when until when segments of the same kind have it.
Spot = tuple[Place, datetime, datetime]


class Places:
    """Where segments of one batch are summed and at what price, found once for all of a kind, quarter hour and price list.

    The one spot where a group's price is looked up. It is in the contract's currency already.
    """

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._spots: dict[tuple[int, int, int], Spot] = {}
        self._times: dict[tuple[int, int], _Times] = {}
        self._tariffs: dict[int, Tariff] = {}

    def at(self, item: KeyClaim, start: datetime) -> Spot:
        """Return the place of a segment that starts then, and until when it may last."""
        # Started lists: between two starts the same price applies to the same series.
        quarter, started = (start - EPOCH) // QUARTER, self._terms.started(start)
        key = (id(item.kind), quarter, started)
        found = self._spots.get(key)
        if found is None:
            times = self._times.get((quarter, started))
            if times is None:
                times = self._times[quarter, started] = _times(quarter, started, self._terms)
            found = self._spots[key] = (self._place(item, start, times), times.since, times.until)
        return found

    def bill_later(self) -> None:
        """Give usage of closed months to the first open one."""
        places = [place for place, _, _ in self._spots.values()]
        billing = billing_of({place.day for place in places}, self._terms.closed)
        for place in places:
            place.period = billing.of(place.day)

    def _place(self, item: KeyClaim, start: datetime, times: _Times) -> Place:
        usage = item.interval
        price = self._terms.price(usage.meter, usage.dims, start)
        tariff = self._tariffs.get(id(price))
        if tariff is None:
            found = (price.unit_amount, price.list_amount, price.price_id, price.rate_id) if price else ()
            tariff = self._tariffs[id(price)] = Tariff(*found)
        return Place(
            series=item.series.hash,
            hour=times.hour,
            day=times.day,
            period=times.month,
            meter_id=self._terms.meters[usage.meter],
            project_id=usage.project_id,
            price_id=tariff.price_id,
            rate_id=tariff.rate_id,
            tariff=tariff,
            counted=usage.quantity is not None,
            currency=self._terms.currency_of(times.day),
        )


@dataclass(frozen=True, slots=True)
class _Times:
    """A quarter hour, or the part of it in which one price list is in force: its bounds, hour, local day and month."""

    since: datetime
    until: datetime
    hour: datetime
    day: date
    month: date


def _times(quarter: int, started: int, terms: Terms) -> _Times:
    begins = EPOCH + quarter * QUARTER
    since = max([begins, *terms.starts[started - 1 : started]]) if started else begins
    until = min([begins + QUARTER, *terms.starts[started : started + 1]])
    day = local_day(since, terms.zone)
    return _Times(since, until, hour_of(begins), day, period_of(day))


def most_cost(usage: Interval, terms: Terms) -> Decimal:
    """Return the maximum cost of an interval: all of it at the highest price that applies at any time."""
    moments = [usage.start, *terms.starts_within(usage.start, usage.end)]
    points = [terms.price(usage.meter, usage.dims, at) for at in moments]
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
    as spent there. It pays no usage of months in another currency. Raises NotFound for an unknown hold, Invalid for usage of another project than the hold's.
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
    for (period, currency), group in groupby(segments, key=lambda segment: (segment.month, segment.currency)):
        pays = currency == state.currency
        state = holds.roll_over(state, period) if pays else state
        left, charges = state.headroom_in(period) if pays else NOTHING, dict[UUID | None, Decimal]()
        for segment in group:
            if segment.project_id != state.project_id:
                raise Invalid("The hold belongs to another project than the usage.")
            segment.hold_id = state.id
            quantum = ONE if segment.place.counted else QUANTITY_QUANTUM  # nobody is charged for half a request
            is_open = pays and state.state == holds.OPEN
            fits = affordable(left, segment.place.tariff.unit_amount, segment.billable, quantum) if is_open else NOTHING
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
