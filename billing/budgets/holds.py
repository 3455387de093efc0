"""Hold -> extend -> settle -> release: money is reserved before the seconds run.

Locks are taken in the order set of budgets, hold, counters by id, prepaid wallet, then the ledger's inserts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from billing.budgets import counters, prepaid
from billing.budgets.counters import BudgetExceeded
from billing.budgets.hold_state import HoldState, lock, lock_now, lock_several, running_month, work_of
from billing.ledger import ledger
from billing.ledger.ledger import AVAILABLE, HELD, SPENT, LedgerAccount, LedgerEntry
from billing.models import Hold, HoldShare
from billing.models.holds import OPEN, RELEASED
from billing.money import CurrencyMismatch, Money
from tenants import clock
from tenants.access.actor import Actor
from tenants.errors import Conflict
from tenants.isolation.scoping import current_tenant_id

__all__ = [
    "OPEN", "BudgetExceeded", "HoldExists", "HoldState", "cover", "extend", "hold", "lock", "lock_now", "lock_several",
    "release", "roll_over", "settle", "succeed",
]  # fmt: skip


class HoldExists(Conflict):
    """This subject already holds money."""

    code = "hold_exists"


def hold(
    *,
    project_id: UUID,
    subject: str,
    amount: Money,
    actor: Actor | None = None,
    tags: Mapping[str, str] | None = None,
    person: UUID | None = None,
    months: Iterable[date] = (),
) -> UUID:
    """Reserve `amount` for `subject` on every budget of its project, tags, person and tenant; return the hold's id.

    `months`: the months of past usage that it also pays for in this transaction; their counters are locked with its own.
    Raises BudgetExceeded (402) if one has no headroom, HoldExists if the subject already holds money, CurrencyMismatch
    for another currency than that of the running month. `actor` is stored, so that an explained line can name it.
    """
    if amount.amount < 0:
        raise ValueError("hold an amount, or nothing for free work")
    with transaction.atomic():
        counters.lock_budget_set()
        period, currency = running_month()
        if currency != amount.currency:
            raise CurrencyMismatch(f"{amount.currency} cannot be held in {currency}")
        over = sorted(month for month in set(months) if month < period)
        within = counters.lock_scope(work_of(project_id, tags or {}, person), [period], over)
        locked = [counter for counter in within if counter.covers(period) and counter.currency == currency]
        counters.require_headroom(locked, amount)
        prepaid.require(amount)
        counters.apply_delta(locked, currency, held=amount.amount)
        placed = Hold(subject=subject, project_id=project_id, period=period, currency=currency, amount=amount.amount)
        placed.tags, placed.person = dict(tags or {}), person
        if actor is not None:
            placed.placed_by_id, placed.placed_by = actor.owner_id, actor.label[:254]
        try:
            with transaction.atomic():
                placed.save(force_insert=True)
        except IntegrityError as error:
            if "hold_once_per_subject" in str(error):
                raise HoldExists(subject=subject) from error
            raise
        HoldShare.objects.bulk_create([HoldShare(hold=placed, counter_id=counter.id) for counter in locked])
        accounts = [LedgerAccount("hold", placed.pk), *(counter.ledger_account for counter in locked)]
        legs = ledger.move(AVAILABLE, HELD, accounts, amount.amount, currency)
        ledger.post(LedgerEntry("hold", period, legs, hold_id=placed.pk))
        return placed.pk


def extend(*, hold_id: UUID, amount: Money) -> None:
    """Increase an open hold in the running month, for a retry or a raised limit. Raises BudgetExceeded, NotFound, Conflict."""
    if amount.amount <= 0:
        raise ValueError("extend by a positive amount")
    with transaction.atomic():
        _extend(_open(hold_id, amount.currency), amount)


def cover(*, hold_id: UUID, amount: Money, period: date | None = None) -> None:
    """Increase an open hold until `amount` can be settled from it in the running month, for a new quote.

    `period`: a past month of usage, whose own budgets pay if the hold has not rolled over yet. Raises as `extend`.
    """
    with transaction.atomic():
        state = _open(hold_id, amount.currency, period)
        missing = amount - Money(state.left, state.currency)
        if missing.amount > 0:
            _extend(state, missing)


def release(*, hold_id: UUID) -> Money:
    """Return what is left of a hold to its budgets, and return that amount. Idempotent."""
    with transaction.atomic():
        counters.lock_budget_set()
        state = lock(hold_id)
        left = state.left
        if state.state == OPEN:
            counters.apply_delta(state.current, state.currency, held=-left)
            legs = ledger.move(HELD, AVAILABLE, state.ledger_accounts, left, state.currency)
            ledger.post(LedgerEntry("release", state.period, legs, hold_id=hold_id))
            Hold.objects.filter(pk=hold_id).update(state=RELEASED, released_at=clock.DatabaseNow())
        return Money(left, state.currency)


def succeed(*, hold_id: UUID, amount: Money) -> UUID:
    """Release an open hold and place one like it in the currency of the running month; return its id.

    Lock it with that month before (`lock_now`), and settle what it still pays. Raises BudgetExceeded after the release.
    """
    before = Hold.objects.get(pk=hold_id)
    release(hold_id=hold_id)
    placed_by = replace(Actor.system(current_tenant_id(), "billing"), id=before.placed_by_id, label=before.placed_by)
    return hold(
        project_id=before.project_id,
        subject=before.subject,
        amount=amount,
        actor=placed_by,
        tags=before.tags,
        person=before.person,
    )


def roll_over(state: HoldState, period: date) -> HoldState:
    """Move what is left of a locked hold to the budgets of a later month, as far as they have headroom.

    A quarter's or a year's budget that covers both months keeps it.
    """
    if state.state != OPEN or period <= state.period:
        return state
    leaving = [counter for counter in state.current if not counter.covers(period)]
    entering = [counter for counter in state.of(period) if not counter.covers(state.period)]
    staying = [counter for counter in state.current if counter.covers(period)]
    carried = min([state.left, *(counter.headroom for counter in entering if counter.enforced)])
    lost = state.left - carried
    change = {
        c.id: delta for group, delta in ((leaving, -state.left), (entering, carried), (staying, -lost)) for c in group
    }
    for group in (leaving, entering, staying):
        counters.apply_delta(group, state.currency, held=change[group[0].id] if group else Decimal(0))
    shares = [HoldShare(hold_id=state.id, counter_id=counter.id) for counter in entering]
    HoldShare.objects.bulk_create(shares, ignore_conflicts=True)
    kept = [LedgerAccount("hold", state.id), *(counter.ledger_account for counter in staying)]
    legs = [
        *ledger.move(HELD, AVAILABLE, kept, lost, state.currency),
        *ledger.move(HELD, AVAILABLE, [c.ledger_account for c in leaving], state.left, state.currency),
        *ledger.move(AVAILABLE, HELD, [c.ledger_account for c in entering], carried, state.currency),
    ]
    ledger.post(LedgerEntry("carry", period, legs, hold_id=state.id))
    Hold.objects.filter(pk=state.id).update(period=period, amount=state.amount - lost)
    moved = tuple(replace(c, held=c.held + change.get(c.id, Decimal(0))) for c in state.counters)
    return replace(state, period=period, amount=state.amount - lost, counters=moved, cut=state.cut or lost > 0)


def settle(
    state: HoldState, period: date, charges: Mapping[UUID | None, Decimal], batch_id: UUID | None = None
) -> HoldState:
    """Turn held into spent for the attempts' usage in `period`; the locked hold must cover the sum.

    Usage of a month before the hold's own is paid from the hold's budgets and counted as spent in its own. `batch_id`:
    the request that reported the usage from outside.
    """
    total = sum(charges.values(), Decimal(0))
    if not total:
        return state
    here, spending = state.current, state.of(period)
    counters.apply_delta([c for c in here if c not in spending], state.currency, held=-total)
    counters.apply_delta([c for c in here if c in spending], state.currency, held=-total, spent=total)
    counters.apply_delta([c for c in spending if c not in here], state.currency, spent=total)
    _grow(state.id, settled=total)
    entries = []
    for attempt_id, shares, amount in ledger.charges(charges):
        legs = ledger.move(HELD, SPENT, [LedgerAccount("hold", state.id)], amount, state.currency)
        legs += ledger.move(HELD, AVAILABLE, [c.ledger_account for c in here], amount, state.currency)
        legs += ledger.move(AVAILABLE, SPENT, [c.ledger_account for c in spending], amount, state.currency)
        whose: dict[str, Any] = {"hold_id": state.id, "attempt_id": attempt_id, "batch_id": batch_id}
        entries.append(LedgerEntry("settle", period, legs, shares=shares, **whose))
    ledger.post(*entries)
    moved = tuple(
        replace(c, held=c.held - (total if c in here else 0), spent=c.spent + (total if c in spending else 0))
        for c in state.counters
    )
    return replace(state, settled=state.settled + total, counters=moved, prepaid=state.prepaid - total)


def _open(hold_id: UUID, currency: str, period: date | None = None) -> HoldState:
    """Lock an open hold after rolling it over to `period`, by default the running month, whose budgets then apply."""
    counters.lock_budget_set()
    period = period or running_month()[0]
    state = lock(hold_id, [period])
    if state.state != OPEN:
        raise Conflict("The hold is released.")
    if state.currency != currency:
        raise CurrencyMismatch(f"{currency} cannot be held in {state.currency}")
    return roll_over(state, period)


def _extend(state: HoldState, amount: Money) -> None:
    counters.require_headroom(state.current, amount)
    prepaid.require(amount)
    counters.apply_delta(state.current, state.currency, held=amount.amount)
    _grow(state.id, amount=amount.amount)
    legs = ledger.move(AVAILABLE, HELD, state.ledger_accounts, amount.amount, state.currency)
    ledger.post(LedgerEntry("extend", state.period, legs, hold_id=state.id))


def _grow(hold_id: UUID, *, amount: Decimal = Decimal(0), settled: Decimal = Decimal(0)) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE billing_hold SET amount = amount + %s, settled = settled + %s WHERE tenant_id = %s AND id = %s",
            [amount, settled, current_tenant_id(), hold_id],
        )


def give_back(hold_id: UUID, amount: Decimal, *, shrink: bool) -> None:
    """Reverse `amount` of what a locked hold has settled; `shrink` the hold too if the money leaves it."""
    _grow(hold_id, settled=-amount, amount=-amount if shrink else Decimal(0))
