"""Entry point of reported usage: each event counts once, and a faulty one does not block the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from billing.metering.metering import UsageRefused
from billing.periods.months import lock_for_usage
from billing.pricing import price_books
from billing.rating.calendar import quarters
from billing.rating.quantity import LONGEST_INTERVAL, MICROSECOND, refusal, seconds_delta
from billing.reported.cloudevents import EventRefused, Incoming, parse
from billing.reported.dear import unknown, verdict
from billing.reported.ground import Ground, lock_ground
from billing.reported.outcomes import Outcome
from billing.reported.placing import Places, placed, places_of, projects_named, refuse_reserved
from billing.reported.readings.arriving import split
from billing.reported.readings.counting import TooManyPieces
from billing.reported.readings.taking import take_readings
from billing.reported.receiving import MOST_QUARTERS, OLDEST, receive
from billing.reported.sender_limits import ReportLimitReached
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
        ground = lock_ground(actor, projects_named(events))
        alone, readings = split(events, ground.kinds)
        if readings and not alone:
            outcome = take_readings(actor=actor, sent=readings, ground=ground)
        else:
            outcome = _take(actor, alone, ground)
    if readings and alone:
        outcome = outcome.joined(_take_beside(actor, events, readings.keys()))
    found, first = [], 0
    for request in requests:
        found.append(_answer(request, outcome.part(first, len(request))))
        first += len(request)
    return found


def _take_beside(actor: Actor, events: Sequence[Any], first: Set[int]) -> Outcome:
    """Take the readings of a batch after its usage, in a transaction of their own: they lock series before budgets."""
    try:
        with tenant_scope(actor.tenant_id):
            ground = lock_ground(actor, projects_named(events))
            _, readings = split(events, ground.kinds)
            changed = dict.fromkeys(first - readings.keys(), "type: its meter has just changed; send the event again")
            still = {number: readings[number] for number in readings.keys() & first}
            taken = take_readings(actor=actor, sent=still, ground=ground)
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


def _take(actor: Actor, events: Mapping[int, Any], ground: Ground) -> Outcome:
    """Take usage that counts by itself, given by index, in the open scope, whose ground is locked."""
    refused: dict[int, str] = {}
    parsed: dict[int, Incoming] = {}
    for number, event in events.items():
        try:
            parsed[number] = parse(event)
        except EventRefused as error:
            refused[number] = str(error)
    places = places_of(actor, parsed.values(), ground.projects)
    good: dict[int, Interval] = {}
    for number, incoming in parsed.items():
        try:
            usage = _interval(incoming, ground, places)
        except EventRefused as error:
            refused[number] = str(error)
            continue
        if fault := refusal(usage.start, usage.end, ground.now):
            refused[number] = fault
        else:
            good[number] = usage
    lock_for_usage([usage.start for usage in good.values()] + [usage.end for usage in good.values()], ground.months)
    terms = _terms(list(good.values()), ground.now)
    reasons: dict[int, str] = {}
    dear: dict[int, str] = {}
    for number, usage in good.items():
        why, fault = verdict(usage, terms, ground.today.limits)
        if why:
            reasons[number] = why
        elif fault:
            dear[number] = fault
    for number in unknown(good, dear):
        refused[number] = dear[number]
        del good[number]
    # A count lies in one.
    if sum(quarters(one.start, one.end) if one.quantity is None else 1 for one in good.values()) > MOST_QUARTERS:
        raise TooManyEvents(
            f"The times of this batch span more than {MOST_QUARTERS:,} quarter hours. Nothing was stored. Send fewer or shorter events at once."
        )
    waiting = {place: reasons[number] for place, number in enumerate(good) if number in reasons}
    receipt = receive(actor=actor, intervals=list(good.values()), reasons=waiting, terms=terms, ground=ground)
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


def _interval(event: Incoming, ground: Ground, places: Places) -> Interval:
    refuse_reserved(event)
    meter = ground.meters.get(event.type)
    if meter is None:
        raise EventRefused(f"type: no meter counts “{event.type[:60]}”; GET /api/v1/meters/ lists what is counted")
    there = placed(event, places)
    at = event.at or ground.now
    timed = meter in ground.timed
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
