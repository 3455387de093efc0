"""Review of reported usage: accepted events are counted at the prices of their time, rejected ones never."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.db.models import F

from billing.budgets import counters
from billing.budgets.unreserved import People, count_unreserved
from billing.metering.metering import terms_of
from billing.metering.rate import most_cost, rate
from billing.models import HeldEvent, UsageBatch
from billing.models.outside import ACCEPTED, REJECTED, WAITING
from billing.money import Money
from billing.periods.months import lock_for_usage
from billing.rating.calendar import quarters
from billing.rating.flat import LARGEST_CHARGE
from billing.reported.readings.counting import Beside
from billing.reported.readings.deciding import accept_readings, of_readings
from billing.reported.receiving import MOST_QUARTERS
from billing.usage import rollups
from billing.usage.intervals import Interval, claims, series_of
from tenants import clock
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.operations import check_text

USAGE_REVIEWED = AuditAction("billing.usage.reviewed")
MOST_EVENTS = 1_000


class UsageDecided(Conflict):
    """Some of this usage has already been reviewed. Reload the list."""

    code = "usage_decided"


@dataclass(frozen=True, slots=True)
class Decision:
    """How many events were accepted or rejected, and the cost of the accepted ones."""

    events: int
    amount: Money


@operation(USAGE_REVIEWED)
def decide(*, actor: Actor, event_ids: Sequence[UUID], accept: bool, reason: str) -> Decision:
    """Accept waiting events, or reject them, all or none. Usage without a matching price is counted free of charge.

    Raises Invalid for too many or too expensive ones, NotFound for a foreign one, UsageDecided for one already decided.
    """
    actor.require("invoices.manage")
    reason = check_text(reason, "reason", 200)
    wanted = set(event_ids)
    if not 1 <= len(wanted) <= MOST_EVENTS:
        raise Invalid(fields={"events": [f"Select 1 to {MOST_EVENTS:,} events."]})
    counters.lock_budget_set()
    batches = HeldEvent.objects.filter(pk__in=wanted).values("batch_id")
    list(UsageBatch.objects.select_for_update(no_key=True).order_by("id").filter(pk__in=batches))
    rows = list(HeldEvent.objects.select_for_update(no_key=True).order_by("id").filter(pk__in=wanted))
    if len(rows) != len(wanted):
        raise NotFound
    if any(row.state != WAITING for row in rows):
        raise UsageDecided
    amounts, currency = _counted(rows) if accept else ({}, "")
    decision = {"decided_at": clock.now(), "decided_by_id": actor.id, "decided_by": actor.label[:254]}
    HeldEvent.objects.filter(pk__in=wanted).update(state=ACCEPTED if accept else REJECTED, **decision)
    for batch_id in sorted({row.batch_id for row in rows}):
        events = sum(row.batch_id == batch_id for row in rows)
        moved = {"accepted": F("accepted") + events, "amount": F("amount") + amounts[batch_id]} if accept else {}
        UsageBatch.objects.filter(pk=batch_id).update(held=F("held") - events, **moved)
    amount = sum(amounts.values(), Decimal(0))
    said = ACCEPTED if accept else REJECTED
    changes = {"state": [WAITING, said], "events": [None, len(rows)], "amount": [None, amount]}
    target = ("usagebatch", rows[0].batch_id, f"{len(rows)} reported events")
    record(USAGE_REVIEWED, actor=actor, target=target, changes=changes, reason=reason)
    currency = currency or UsageBatch.objects.values_list("currency", flat=True).get(pk=rows[0].batch_id)
    return Decision(len(rows), Money(amount, currency))


def _counted(rows: Sequence[HeldEvent]) -> tuple[dict[UUID, Decimal], str]:
    """Rate and store events under their own requests; return each request's amount, and the currency."""
    if sum(quarters(row.starts_at, row.ends_at) for row in rows) > MOST_QUARTERS:
        text = f"The times of these events span more than {MOST_QUARTERS:,} quarter hours. Select fewer events."
        raise Invalid(fields={"events": [text]})
    intervals = [interval_of(row) for row in rows]
    lock_for_usage([moment for item in intervals for moment in (item.start, item.end)])
    terms = terms_of(intervals)
    if any(most_cost(item, terms) > LARGEST_CHARGE for item in intervals):
        raise Invalid(
            "Some of these events would cost more than 10^12. Check the quantities, and reject what is wrong."
        )
    readings = of_readings(rows)
    listed = claims(intervals)
    segments = []
    for row, item in zip(rows, listed, strict=True):
        if row.meter not in readings:
            segments += rate([item], terms, row.batch_id)
    amounts: dict[UUID, Decimal] = defaultdict(Decimal)
    for segment in segments:
        if segment.batch_id is not None:
            amounts[segment.batch_id] += terms.currencies.worth([segment], terms.currency)
    series = series_of(listed)
    if readings:
        accepted = [(row, item) for row, item in zip(rows, listed, strict=True) if row.meter in readings]
        amounts |= accept_readings(accepted, readings, terms, Beside(segments, series))
        return amounts, terms.currency
    people: People = dict(UsageBatch.objects.filter(pk__in=amounts).values_list("pk", "person"))
    count_unreserved(segments, series, people)
    rollups.write(segments, series, zone=terms.zone)
    return amounts, terms.currency


def interval_of(row: HeldEvent) -> Interval:
    """Return a held event as the reported interval."""
    quantity = row.quantity
    if quantity is not None and not quantity:  # a reading of 0, which is rated by nothing
        quantity = Decimal(1)
    return Interval(
        key=row.key,
        source=row.source,
        meter=row.meter,
        resource=row.resource,
        project_id=row.project_id,
        start=row.starts_at,
        end=row.ends_at,
        dims=row.dims,
        quantity=quantity,
    )
