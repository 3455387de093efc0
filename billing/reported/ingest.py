"""Entry point of reported usage: each event counts once, and a faulty one does not block the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.budgets import counters
from billing.metering import meters
from billing.metering.metering import UsageRefused, fault_of
from billing.metering.rate import most_cost
from billing.models import Meter
from billing.periods.months import lock_for_usage
from billing.pricing import price_books
from billing.rating.aggregation import SUM
from billing.rating.calendar import quarters
from billing.rating.quantity import LONGEST_INTERVAL, MICROSECOND, seconds_delta
from billing.reported.cloudevents import EventRefused, Incoming, parse
from billing.reported.dear import too_dear, unknown
from billing.reported.outcomes import Outcome
from billing.reported.placing import Places, placed, places_of, refuse_reserved
from billing.reported.readings.arriving import split
from billing.reported.readings.counting import TooManyPieces
from billing.reported.readings.taking import take_readings
from billing.reported.receiving import MOST_QUARTERS, OLDEST, receive, review_reason
from billing.reported.sender_limits import ReportLimitReached, lock_today
from billing.usage.intervals import Interval
from billing.usage.usage_keys import UsageConflict
from tenants.access.actor import Actor
from tenants.errors import ExchequerError
from tenants.isolation.scoping import tenant_scope

MOST_EVENTS = 1_000
LARGEST_BODY = 2 * 1024 * 1024
LONGEST_SECONDS = Decimal(LONGEST_INTERVAL // timedelta(seconds=1))


class TooManyEvents(ExchequerError):
    """A batch holds at most 1,000 events in 2 MB. Send them in several."""

    code = "too_large"
    status = 413


@dataclass(frozen=True, slots=True)
class Known:
    """What events of the open scope's tenant may name: meters by event type, and places."""

    now: datetime
    meters: Mapping[str, str]
    timed: frozenset[str]
    places: Places


@dataclass(frozen=True, slots=True)
class Taken:
    """Result of a request without faulty events: how many were new, and which are not counted, and why."""

    accepted: int
    held: Sequence[Mapping[str, Any]] = ()


def ingest(*, actor: Actor, events: Sequence[Any]) -> Taken:
    """Store usage events under their sender. Valid events are always stored; some wait for review.

    Raises TooManyEvents or ReportLimitReached, and stores nothing; after valid events are committed, UsageConflict
    (409) if an id is already known with different content, else UsageRefused (400), each with every event that was not taken.
    """
    found = ingest_together(actor, [events])[0]
    if isinstance(found, Exception):
        raise found
    return found


def ingest_together(actor: Actor, requests: Sequence[Sequence[Any]]) -> list[Taken | ExchequerError]:
    """Store the events of several requests of one sender in one transaction, as `ingest` does; return what each gets.

    Raises what concerns them all, and then stores nothing.
    """
    actor.require("usage.ingest")
    events = [event for request in requests for event in request]
    if len(events) > MOST_EVENTS:
        raise TooManyEvents
    with tenant_scope(actor.tenant_id):
        alone, readings = _split(events)
        outcome = take_readings(actor=actor, sent=readings) if readings and not alone else _take(actor, alone)
    if readings and alone:
        outcome = outcome.joined(_take_beside(actor, events, readings.keys()))
    found, first = [], 0
    for request in requests:
        found.append(_answer(request, outcome.part(first, len(request))))
        first += len(request)
    return found


def _split(events: Sequence[Any]) -> tuple[dict[int, Any], dict[int, tuple[Any, str]]]:
    """Return usage and readings by index. The set of budgets is locked before meters are read: so none changes meanwhile."""
    counters.lock_budget_set()
    return split(events, dict(Meter.objects.exclude(aggregation=SUM).values_list("event_type", "aggregation")))


def _take_beside(actor: Actor, events: Sequence[Any], first: Set[int]) -> Outcome:
    """Take the readings of a batch after its usage, in a transaction of their own: they lock series before budgets."""
    try:
        with tenant_scope(actor.tenant_id):
            _, readings = _split(events)
            changed = dict.fromkeys(first - readings.keys(), "type: its meter has just changed; send the event again")
            taken = take_readings(actor=actor, sent={number: readings[number] for number in readings.keys() & first})
            return taken.joined(Outcome(refused=changed))
    except (ReportLimitReached, TooManyPieces) as refused:
        refused.message += " Usage of this request that is no reading was stored: sent again, it counts once."
        raise


def _answer(events: Sequence[Any], outcome: Outcome) -> Taken | ExchequerError:
    """Return what the sender of these events gets."""
    reasons = {number: reason for number, (_, reason) in outcome.held.items()}
    held = [{**row, "state": outcome.held[row["index"]][0]} for row in _listed(events, reasons)]
    refused = _listed(events, outcome.refused)
    more: dict[str, Any] = {"held": held} if held else {}
    if outcome.conflicts:
        return UsageConflict(conflicts=_listed(events, outcome.conflicts), refused=refused, **more)
    if refused:
        return UsageRefused(refused=refused, **more)
    return Taken(len(outcome.counted), held)


def _take(actor: Actor, events: Mapping[int, Any]) -> Outcome:
    """Take usage that counts by itself, given by index, in the open scope."""
    refused: dict[int, str] = {}
    parsed: dict[int, Incoming] = {}
    for number, event in events.items():
        try:
            parsed[number] = parse(event)
        except EventRefused as error:
            refused[number] = str(error)
    known = _known(places_of(actor, parsed.values()))
    good: dict[int, Interval] = {}
    for number, incoming in parsed.items():
        try:
            good[number] = _interval(incoming, known)
        except EventRefused as error:
            refused[number] = str(error)
    lock_for_usage([usage.start for usage in good.values()] + [usage.end for usage in good.values()])
    terms = _terms(list(good.values()), known.now)
    today = lock_today(actor)
    reasons: dict[int, str] = {}
    dear: dict[int, str] = {}
    for number, usage in list(good.items()):
        fault = fault_of(usage, terms)
        why = "" if fault else review_reason(usage, terms)
        if fault is not None:
            refused[number] = fault
            del good[number]
        elif why:  # checked when a person accepts it: old usage may have any price
            reasons[number] = why
        elif fault := too_dear(most_cost(usage, terms), today.limits):
            dear[number] = fault
    for number in unknown(good, dear):
        refused[number] = dear[number]
        del good[number]
    if sum(quarters(usage.start, usage.end) for usage in good.values()) > MOST_QUARTERS:
        raise TooManyEvents(
            f"The times of this batch span more than {MOST_QUARTERS:,} quarter hours. Nothing was stored. Send fewer or shorter events at once."
        )
    places = {place: reasons[number] for place, number in enumerate(good) if number in reasons}
    receipt = receive(actor=actor, intervals=list(good.values()), reasons=places, terms=terms, today=today)
    numbers = {id(usage): number for number, usage in good.items()}
    held = {
        numbers[key]: (state, reason)
        for state, found in (("waiting", receipt.held), ("rejected", receipt.rejected))
        for key, reason in found.items()
    }
    return Outcome(
        {numbers[key] for key in receipt.counted},
        refused,
        {numbers[id(usage)]: "already known with different content" for usage in receipt.clashes},
        held,
    )


def _terms(intervals: Sequence[Interval], now: datetime) -> price_books.Terms:
    """Return the terms that check and rate these intervals; those held for their age need no prices."""
    oldest = now - OLDEST - LONGEST_INTERVAL
    recent = [usage for usage in intervals if usage.end >= now - OLDEST]
    first = max(min((usage.start for usage in recent), default=now), oldest)
    last = max((usage.end for usage in recent), default=now)
    return price_books.terms(first, last, meters={usage.meter for usage in recent})


def _known(places: Places) -> Known:
    if not Meter.objects.exists():
        meters.provide()
    terms = price_books.terms(meters=())
    types = dict(Meter.objects.values_list("event_type", "key"))
    return Known(terms.now, types, terms.timed, places)


def _interval(event: Incoming, known: Known) -> Interval:
    refuse_reserved(event)
    meter = known.meters.get(event.type)
    if meter is None:
        raise EventRefused(f"type: no meter counts “{event.type[:60]}”; GET /api/v1/meters/ lists what is counted")
    there = placed(event, known.places)
    at = event.at or known.now
    timed = meter in known.timed
    return Interval(
        key=event.id,
        source=event.source,
        meter=meter,
        resource=event.subject,
        project_id=there.project_id,
        # Seconds are over when they are reported; a count belongs to its moment.
        start=at - _span(event.quantity) if timed else at,
        end=at if timed else at + MICROSECOND,
        dims=there.dims,
        quantity=None if timed else event.quantity,
        content=event.content,
        hold_id=there.hold_id,
    )


def _span(quantity: Decimal) -> timedelta:
    if quantity > LONGEST_SECONDS:
        raise EventRefused("data.quantity: the interval is longer than 24 hours")
    return seconds_delta(quantity)


def _listed(events: Sequence[Any], reasons: Mapping[int, str]) -> list[dict[str, Any]]:
    listed = []
    for number, reason in sorted(reasons.items()):
        event = events[number] if isinstance(events[number], dict) else {}
        named = {name: _echo(event[name]) for name in ("source", "id") if name in event}
        listed.append({"index": number, **named, "reason": reason})
    return listed


def _echo(value: Any) -> str:
    """Return the start of a sent value; a list or an object names nothing and may have any size."""
    text = "" if isinstance(value, dict | list) else str(value)[:200]
    return text.encode(errors="replace").decode()
