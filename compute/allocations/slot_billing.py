"""Billing of leased slots: an hour's money is held ahead, and seconds are recorded by quarter hours, each exactly once.

The source of truth is the allocation's row in PostgreSQL and the database's clock. A stay on a slot is billed from its
assignment to its end, or to the end of its lease if its node fell silent. Each quarter hour of a stay has one key
(slot, token, quarter), so repeated settlement counts it once. If no price names this meter, or the price is 0, nothing
is held and the seconds are measured without charge. If a budget has no headroom for the next quarter, the slot is
released and its owner is notified (`SlotUnpaid`).

Locks: allocation, the tenant's set of budgets, the meter, hold, counters, device, quota, audit chain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import groupby, islice
from uuid import UUID

from billing.budgets import counters, holds
from billing.budgets.counters import BudgetExceeded
from billing.defaults import SLOT_SECONDS
from billing.metering import meters
from billing.metering.metering import Interval, record_usage, terms_of
from billing.metering.rate import most_cost
from billing.money import Money
from billing.pricing import price_books
from billing.queries.calendar import tenant_today
from billing.rating.calendar import day_start, local_day, period_of, quarter_of
from billing.rating.flat import charge
from billing.rating.tags import tags_in
from compute.models import Allocation, SlotState
from tenants.access.actor import Actor
from tenants.clock import now
from tenants.quotas import person_behind

SOURCE = "slots"
QUARTER = timedelta(minutes=15)
HELD_S = 3600
SLACK = timedelta(minutes=1)
"""A quarter is settled within this time of its end, which the hold covers too."""
MOST_QUARTERS = 96
NOTHING = Decimal(0)


def reserve(row: Allocation, actor: Actor) -> None:
    """Hold the first hour of a new allocation, or its first quarter if there is no more. Raises BudgetExceeded (402)."""
    row.hold_id = None
    unit = _unit_price(row)
    if unit is not None:
        row.hold_id = _hold(row, unit, actor)


def settle(row: Allocation, *, ended_at: datetime | None = None) -> bool:
    """Record the slot usage of a locked allocation in whole quarters; check again after the next quarter.

    Usage is recorded up to now if its stay `ended_at` now. Returns False if the money does not last to the end of the
    next quarter.
    """
    counters.lock_budget_set()
    present = now()
    if row.state != SlotState.LIVE or row.settle_at is None:  # a slot older than slot billing is billed from now
        row.billed_until = present
    start = row.billed_until or row.assigned_at or present
    until = ended_at or quarter_of(present)
    if row.lease_until is not None:
        until = min(until, row.lease_until if ended_at else quarter_of(row.lease_until))
    row.settle_at = following = quarter_of(present) + QUARTER
    intervals = list(islice(_quarters(row, start, until), None if ended_at else MOST_QUARTERS))
    goes_on, hold_id, paid = ended_at is None, row.hold_id, True
    by_month = _by_month(intervals)
    if intervals:
        meters.ensure(SLOT_SECONDS)
    if hold_id is not None:
        holds.lock_now(hold_id, by_month)
    elif goes_on:
        paid = _provide(row, start, following + SLACK, by_month)
    # One month after the other: each pays for its own usage, even if it is over and this is late.
    for month, used in by_month.items():
        _prepare(row, month, used, goes_on=goes_on)
        recorded = record_usage(used, hold_id=row.hold_id, held_only=True)
        if goes_on and row.hold_id is not None and recorded.exhausted and recorded.refused_by == "budget":
            paid = False
    if intervals:
        row.billed_until = intervals[-1].end
        if row.billed_until < until:
            row.settle_at = present
    # Only after past usage is recorded, in its month and at the price of its time, may the hold move, grow or be
    # released.
    if goes_on and row.hold_id is not None and paid:
        paid = _provide(row, row.billed_until or start, following + SLACK)
    _keep(row)
    return paid


def close(row: Allocation) -> None:
    """Record the last seconds of a locked allocation and release the rest of its money."""
    if row.state == SlotState.LIVE:
        settle(row, ended_at=now())
    if row.hold_id is not None:
        holds.release(hold_id=row.hold_id)


def _by_month(intervals: Sequence[Interval]) -> dict[date, list[Interval]]:
    """Return intervals by the local month they lie in, in order."""
    if not intervals:
        return {}
    zone = terms_of(intervals).zone
    return {month: list(used) for month, used in groupby(intervals, lambda one: period_of(local_day(one.start, zone)))}


def _catch_up(hold_id: UUID, month: date, used: Sequence[Interval]) -> None:
    """Let the hold cover past usage not provided for: settled late, or at a higher price."""
    cost = _most(used)
    if cost.amount > 0:
        with suppress(BudgetExceeded):  # usage that the hold does not cover is free
            holds.cover(hold_id=hold_id, amount=cost, period=month)


def _most(used: Sequence[Interval]) -> Money:
    """Return the maximum cost of usage within one month."""
    terms = terms_of(used)
    return Money(sum((most_cost(one, terms) for one in used), NOTHING), terms.currency)


def _prepare(row: Allocation, month: date, used: Sequence[Interval], *, goes_on: bool) -> None:
    """Let the hold cover the usage of a month, or replace it where the tenant's currency has changed with that month."""
    if row.hold_id is None:
        return
    at, paid_in = tenant_today(), holds.lock(row.hold_id).currency
    if at.currencies.of(month) == paid_in:
        if goes_on:
            _catch_up(row.hold_id, month, used)
    elif at.currencies.of(month) == at.currency:
        row.hold_id = _replaced(row.hold_id, _most(used))


def _replaced(hold_id: UUID, amount: Money) -> UUID | None:
    """Replace a hold by one in today's currency; return None without headroom: what it would pay is free."""
    try:
        return holds.succeed(hold_id=hold_id, amount=amount)
    except BudgetExceeded:
        return None


def _provide(row: Allocation, start: datetime, until: datetime, months: Iterable[date] = ()) -> bool:
    """Let the hold cover `start` to `until`, an hour at a time; return whether it does.

    `months`: the months of the usage that a new hold pays for.
    """
    unit = _unit_price(row)
    if unit is None:
        if row.hold_id is not None:
            holds.release(hold_id=row.hold_id)
            row.hold_id = None
        return True
    needed = Money(charge(_seconds(until - start), unit.unit_amount), unit.currency)
    if row.hold_id is not None and holds.lock(row.hold_id).currency != unit.currency:
        at = tenant_today()
        if start < day_start(at.currencies.since(at.day), at.zone):  # it still pays for usage before
            return True
        row.hold_id = _replaced(row.hold_id, needed)
        return row.hold_id is not None
    if row.hold_id is None:
        try:
            row.hold_id = _hold(row, unit, _payer(row), least=needed, months=tuple(months))
        except BudgetExceeded:
            return False
        return True
    if holds.lock(row.hold_id).left >= needed.amount:
        return True
    hour = Money(max(needed.amount, charge(Decimal(HELD_S), unit.unit_amount)), unit.currency)
    for amount in dict.fromkeys((hour, needed)):
        try:
            holds.cover(hold_id=row.hold_id, amount=amount)
        except BudgetExceeded:
            continue
        return True
    return False


def _hold(
    row: Allocation,
    unit: price_books.PricePoint,
    actor: Actor,
    least: Money | None = None,
    months: Sequence[date] = (),
) -> UUID:
    hour = Money(charge(Decimal(HELD_S), unit.unit_amount), unit.currency)
    quarter = least or Money(charge(_seconds(QUARTER + SLACK), unit.unit_amount), unit.currency)
    most = max(hour, quarter, key=lambda one: one.amount)
    place = partial(
        holds.hold,
        project_id=row.project_id,
        subject=f"{row.subject}:slot:{row.id}",
        actor=actor,
        tags=tags_in(row.dims),
        person=person_behind(row.requested_by),
        months=months,
    )
    try:
        return place(amount=most)
    except BudgetExceeded:
        return place(amount=quarter)


def _unit_price(row: Allocation) -> price_books.PricePoint | None:
    """Return the current price per second; None if it is free."""
    try:
        point = price_books.price_at(SLOT_SECONDS, _dims(row))
    except price_books.PriceMissing:  # a price list that predates slot meters, or omits them
        return None
    return point if point.unit_amount else None


def _dims(row: Allocation) -> dict[str, str]:
    return {"device_class": row.device_class, **row.dims}


def _payer(row: Allocation) -> Actor:
    # Lets an explained invoice line name who requested the slot; the hold itself needs no permission.
    system = Actor.system(row.tenant_id, "slots")
    return replace(system, id=row.requested_by, label=row.requested_by_label or system.label)


def _quarters(row: Allocation, start: datetime, until: datetime) -> Iterator[Interval]:
    """Yield the quarter hours of a stay between two moments."""
    while start < until:
        quarter = quarter_of(start)
        end = min(until, quarter + QUARTER)
        yield Interval(
            key=f"slot:{row.id}:{row.token}:{quarter:%Y%m%dT%H%M}",
            meter=SLOT_SECONDS,
            resource=row.subject,
            project_id=row.project_id,
            start=start,
            end=end,
            dims=_dims(row),
            source=SOURCE,
        )
        start = end


def _seconds(span: timedelta) -> Decimal:
    return Decimal(span // timedelta(microseconds=1)) / 1_000_000


def _keep(row: Allocation) -> None:
    Allocation.objects.filter(id=row.id).update(
        billed_until=row.billed_until, settle_at=row.settle_at, hold_id=row.hold_id
    )
