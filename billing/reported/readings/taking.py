"""Take reported readings: each is stored once under its sender, and its series counts what they come to together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from typing import Any

from billing.metering.rate import most_cost
from billing.periods.months import lock_for_usage
from billing.pricing import price_books
from billing.pricing.price_books import Terms
from billing.rating.aggregation import TIME_WEIGHTED
from billing.rating.quantity import LONGEST_INTERVAL, MICROSECOND, refusal
from billing.reported.cloudevents import EventRefused
from billing.reported.dear import too_dear, unknown
from billing.reported.ground import Ground
from billing.reported.outcomes import Outcome
from billing.reported.placing import Places, placed, places_of, refuse_reserved
from billing.reported.readings.arriving import Arrival, arrival
from billing.reported.readings.receiving import Receipt, receive
from billing.reported.receiving import OLDEST, review_reason
from billing.reported.sender_limits import Limits
from billing.usage.intervals import Interval
from tenants.access.actor import Actor

DAY_HOURS = 24


def take_readings(*, actor: Actor, sent: Mapping[int, tuple[Any, str]], ground: Ground) -> Outcome:
    """Take readings, given with the aggregations of their meters, in the open scope, whose ground is locked.

    Raises ReportLimitReached or TooManyPieces, and stores nothing.
    """
    refused: dict[int, str] = {}
    arrived: dict[int, Arrival] = {}
    for number, (event, aggregation) in sent.items():
        try:
            arrived[number] = arrival(event, aggregation)
        except EventRefused as error:
            refused[number] = str(error)
    there = places_of(actor, [one.event for one in arrived.values()], ground.projects)
    good: dict[int, Interval] = {}
    for number, one in arrived.items():
        try:
            good[number] = _interval(one, ground, there)
        except EventRefused as error:
            refused[number] = str(error)
    lock_for_usage([usage.start for usage in good.values()], ground.months)
    terms = _terms(good, ground.now)
    reasons: dict[int, str] = {}
    dear: dict[int, str] = {}
    for number, usage in list(good.items()):
        fault = refusal(usage.start, usage.end, terms.now)
        if fault is not None:
            refused[number] = fault
            del good[number]
        elif why := review_reason(usage, terms):
            reasons[number] = why
        elif fault := _too_dear(usage, arrived[number], terms, ground.today.limits):
            dear[number] = fault
    for number in unknown(good, dear):
        refused[number] = dear[number]
        del good[number]
    readings = [(arrived[number], usage) for number, usage in good.items()]
    places = {place: reasons[number] for place, number in enumerate(good) if number in reasons}
    receipt: Receipt = receive(actor=actor, readings=readings, reasons=places, terms=terms, today=ground.today)
    numbers = list(good)
    return Outcome(
        {numbers[place] for place in receipt.counted},
        refused,
        {numbers[place]: "already known with different content" for place in receipt.clashes},
        {numbers[place]: state for place, state in receipt.held.items()},
    )


def _interval(one: Arrival, ground: Ground, places: Places) -> Interval:
    """Return the moment of a reading as usage; its quantity is the value, or 1 if that is 0."""
    event = one.event
    refuse_reserved(event)
    there = placed(event, places)
    at = event.at or ground.now
    return Interval(
        key=event.id,
        source=event.source,
        meter=ground.meters[event.type],
        resource=event.subject,
        project_id=there.project_id,
        start=at,
        end=at + MICROSECOND,
        dims=there.dims,
        quantity=one.value or Decimal(1),
        content=one.content,
        hold_id=there.hold_id,
    )


def _terms(good: Mapping[int, Interval], now: datetime) -> Terms:
    """Return the terms that check these readings; those held for their age need no prices."""
    recent = [usage.start for usage in good.values() if usage.end >= now - OLDEST]
    first = max(min(recent, default=now), now - OLDEST - LONGEST_INTERVAL)
    return price_books.terms(first, max([now, *recent]), meters={usage.meter for usage in good.values()})


def _too_dear(usage: Interval, one: Arrival, terms: Terms, limits: Limits) -> str | None:
    """Return why a reading costs too much; a time-weighted one by what its value costs a day."""
    if not one.value:
        return None
    units = one.value * DAY_HOURS if one.aggregation == TIME_WEIGHTED else one.value
    return too_dear(most_cost(replace(usage, quantity=units), terms), limits)
