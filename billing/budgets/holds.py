"""Hold -> extend -> settle -> release: money is reserved before the seconds run.

Locks are taken in the order set of budgets, hold, counters by id, prepaid wallet, then the ledger's inserts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from uuid import UUID

from django.db import IntegrityError, connection, transaction

from billing.budgets import counters, prepaid
from billing.budgets.counters import BudgetExceeded, Counter
from billing.ledger import ledger
from billing.ledger.ledger import AVAILABLE, HELD, SPENT, LedgerAccount, LedgerEntry
from billing.models import Hold, HoldShare
from billing.models.holds import OPEN, RELEASED
from billing.money import CurrencyMismatch, Money
from billing.rating.calendar import local_day, period_of
from billing.rating.tags import marks
from tenants import clock
from tenants.access.actor import Actor
from tenants.errors import Conflict, NotFound
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant

__all__ = [
    "OPEN", "BudgetExceeded", "HoldExists", "HoldState", "cover", "extend", "hold", "lock", "lock_now", "release",
    "roll_over", "settle",
]  # fmt: skip


class HoldExists(Conflict):
    """This subject already holds money."""

    code = "hold_exists"


@dataclass(frozen=True, slots=True)
class HoldState:
    """A hold, its counters and what the wallet lets work use up (`prepaid`), read under their row locks.

    `cut`: a new month had no headroom for all of it.
    """

    id: UUID
    project_id: UUID
    period: date
    currency: str
    amount: Decimal
    settled: Decimal
    state: str
    counters: tuple[Counter, ...]
    tags: tuple[str, ...] = ()
    cut: bool = False
    prepaid: Decimal = prepaid.UNLIMITED

    @property
    def left(self) -> Decimal:
        """What usage can still be settled from the hold."""
        return self.amount - self.settled if self.state == OPEN else Decimal(0)

    @property
    def headroom(self) -> Decimal:
        """What may be settled now: what is left, unless a budget that stops running work, or the wallet, has less."""
        bounds = [c.running_headroom for c in self.current if c.running_headroom is not None]
        return min([self.left, self.prepaid, *bounds])

    def headroom_in(self, period: date) -> Decimal:
        """Return what may be settled now for usage in `period`.

        In a month before the hold's own, that is no more than its budgets have headroom for.
        """
        if period == self.period:
            return self.headroom
        return min([self.left, self.prepaid, *(counter.headroom for counter in self.of(period) if counter.enforced)])

    @property
    def refused_by(self) -> str:
        """Which limit binds first: `budget` or `hold`."""
        return "budget" if self.cut or self.headroom < self.left else "hold"

    @property
    def current(self) -> tuple[Counter, ...]:
        """The counters of the hold's month."""
        return self.of(self.period)

    def of(self, period: date) -> tuple[Counter, ...]:
        """The counters of a month."""
        return tuple(counter for counter in self.counters if counter.period == period)

    @property
    def ledger_accounts(self) -> list[LedgerAccount]:
        """Return the ledger accounts that a movement of the hold touches."""
        return [LedgerAccount("hold", self.id), *(counter.ledger_account for counter in self.current)]


def hold(
    *,
    project_id: UUID,
    subject: str,
    amount: Money,
    actor: Actor | None = None,
    tags: Mapping[str, str] | None = None,
    months: Iterable[date] = (),
) -> UUID:
    """Reserve `amount` for `subject` on every budget of its project, tags and tenant; return the hold's id.

    `months`: the months of past usage that it also pays for in this transaction; their counters are locked with its own.
    Raises BudgetExceeded (402) if one has no headroom, HoldExists if the subject already holds money, CurrencyMismatch
    for another currency than the tenant's. `actor` is stored, so that an explained line can name it.
    """
    if amount.amount <= 0:
        raise ValueError("hold a positive amount")
    with transaction.atomic():
        counters.lock_budget_set()
        period, currency = _running_month()
        if currency != amount.currency:
            raise CurrencyMismatch(f"{amount.currency} cannot be held in {currency}")
        over = sorted(month for month in set(months) if month < period)
        within = counters.lock_scope([project_id], [period], currency, marks(tags or {}), over)
        locked = [counter for counter in within if counter.period == period]
        counters.require_headroom(locked, amount)
        prepaid.require(amount)
        counters.apply_delta(locked, currency, held=amount.amount)
        placed = Hold(subject=subject, project_id=project_id, period=period, currency=currency, amount=amount.amount)
        placed.tags = dict(tags or {})
        if actor is not None:
            placed.placed_by_id, placed.placed_by = actor.id, actor.label[:254]
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


def lock(hold_id: UUID, months: Iterable[date] = ()) -> HoldState:
    """Lock a hold, its counters, and those of other months that its usage or its roll-over touches. Raises NotFound.

    Missing counters of later months are created, because the hold may move there.
    """
    row = Hold.objects.select_for_update(no_key=True).filter(pk=hold_id).first()
    if row is None:
        raise NotFound("There is no such hold.")
    tags = tuple(marks(row.tags))
    state = HoldState(row.pk, row.project_id, row.period, row.currency, row.amount, row.settled, row.state, (), tags)
    others = set(months) - {state.period} if state.state == OPEN else set()
    later = sorted(period for period in others if period > state.period)
    earlier = sorted(others - set(later))
    locked = counters.lock_for_hold(hold_id, state.project_id, state.currency, later, tags, earlier)
    return replace(state, counters=tuple(locked), prepaid=prepaid.running_headroom(state.currency))


def lock_now(hold_id: UUID, months: Iterable[date] = ()) -> HoldState:
    """Lock a hold, its counters, and those of `months` and of the running month, to which it may roll over.

    Raises NotFound.
    """
    return lock(hold_id, [_running_month()[0], *months])


def roll_over(state: HoldState, period: date) -> HoldState:
    """Move what is left of a locked hold to the budgets of a later month, as far as they have headroom."""
    if state.state != OPEN or period <= state.period:
        return state
    target = state.of(period)
    headrooms = [counter.headroom for counter in target if counter.enforced]
    carried = min([state.left, *headrooms])
    counters.apply_delta(state.current, state.currency, held=-state.left)
    counters.apply_delta(target, state.currency, held=carried)
    HoldShare.objects.bulk_create([HoldShare(hold_id=state.id, counter_id=c.id) for c in target], ignore_conflicts=True)
    accounts, lost = [LedgerAccount("hold", state.id)], state.left - carried
    legs = [
        *ledger.move(HELD, AVAILABLE, accounts, lost, state.currency),
        *ledger.move(HELD, AVAILABLE, [c.ledger_account for c in state.current], state.left, state.currency),
        *ledger.move(AVAILABLE, HELD, [c.ledger_account for c in target], carried, state.currency),
    ]
    ledger.post(LedgerEntry("carry", period, legs, hold_id=state.id))
    Hold.objects.filter(pk=state.id).update(period=period, amount=state.amount - lost)
    moved = tuple(replace(c, held=c.held + carried) if c.period == period else c for c in state.counters)
    return replace(state, period=period, amount=state.amount - lost, counters=moved, cut=state.cut or lost > 0)


def settle(state: HoldState, period: date, charges: Mapping[UUID | None, Decimal]) -> HoldState:
    """Turn held into spent for each attempt's usage in `period`; the locked hold must cover the sum.

    Usage of a month before the hold's own is paid from the hold's month and counted as spent in its own.
    """
    total = sum(charges.values(), Decimal(0))
    if not total:
        return state
    here, spending = state.current, state.of(period)
    if period == state.period:
        counters.apply_delta(here, state.currency, held=-total, spent=total)
    else:
        counters.apply_delta(here, state.currency, held=-total)
        counters.apply_delta(spending, state.currency, spent=total)
    _grow(state.id, settled=total)
    entries = []
    for attempt_id, amount in charges.items():
        legs = ledger.move(HELD, SPENT, [LedgerAccount("hold", state.id)], amount, state.currency)
        legs += ledger.move(HELD, AVAILABLE, [c.ledger_account for c in here], amount, state.currency)
        legs += ledger.move(AVAILABLE, SPENT, [c.ledger_account for c in spending], amount, state.currency)
        entries.append(LedgerEntry("settle", period, legs, hold_id=state.id, attempt_id=attempt_id))
    ledger.post(*entries)
    moved = tuple(
        replace(
            c,
            held=c.held - (total if c.period == state.period else 0),
            spent=c.spent + (total if c.period == period else 0),
        )
        for c in state.counters
    )
    return replace(state, settled=state.settled + total, counters=moved, prepaid=state.prepaid - total)


def _running_month() -> tuple[date, str]:
    """Return the tenant-local month and the tenant's currency."""
    zone, currency = Tenant.objects.values_list("timezone", "currency").get(pk=current_tenant_id())
    return period_of(local_day(clock.now(), zone)), currency


def _open(hold_id: UUID, currency: str, period: date | None = None) -> HoldState:
    """Lock an open hold after rolling it over to `period`, by default the running month, whose budgets then apply."""
    counters.lock_budget_set()
    period = period or _running_month()[0]
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
