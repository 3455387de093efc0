"""A hold and its counters as read under their row locks."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from uuid import UUID

from billing.budgets import counters, prepaid
from billing.budgets.counters import Counter, Work
from billing.ledger.ledger import LedgerAccount
from billing.models import Hold, HoldShare
from billing.models.holds import OPEN
from billing.queries.calendar import tenant_today
from billing.rating.tags import marks
from tenants.errors import NotFound


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
    tags: Mapping[str, str] = field(default_factory=dict)
    person: UUID | None = None
    cut: bool = False
    prepaid: Decimal = prepaid.UNLIMITED

    @property
    def work(self) -> Work:
        """Whose budgets it lies on."""
        return work_of(self.project_id, self.tags, self.person)

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
        """Return what may be settled now for usage in `period`, a month.

        In a month before the hold's own, that is no more than those budgets have headroom for on which it does not lie.
        """
        bounds = [self.left, self.prepaid]
        for counter in self.of(period):
            if not counter.covers(self.period):
                bounds += [counter.headroom] if counter.enforced else []
            elif counter.running_headroom is not None:
                bounds.append(counter.running_headroom)
        return min(bounds)

    @property
    def refused_by(self) -> str:
        """Which limit binds first: `budget` or `hold`."""
        return "budget" if self.cut or self.headroom < self.left else "hold"

    @property
    def current(self) -> tuple[Counter, ...]:
        """The counters of the hold's month, and of the quarter and year that it lies in."""
        return self.of(self.period)

    def of(self, period: date) -> tuple[Counter, ...]:
        """The counters in the hold's currency whose periods cover a month."""
        return tuple(one for one in self.counters if one.covers(period) and one.currency == self.currency)

    @property
    def ledger_accounts(self) -> list[LedgerAccount]:
        """Return the ledger accounts that a movement of the hold touches."""
        return [LedgerAccount("hold", self.id), *(counter.ledger_account for counter in self.current)]


def lock(hold_id: UUID, months: Iterable[date] = ()) -> HoldState:
    """Lock a hold, its counters, and those of other months that its usage or its roll-over touches. Raises NotFound.

    Missing counters of later months are created, because the hold may move there.
    """
    states, _ = lock_several([hold_id], months)
    return states[hold_id]


def lock_several(
    hold_ids: Collection[UUID], months: Iterable[date] = (), beside: Work | None = None
) -> tuple[dict[UUID, HoldState], list[Counter]]:
    """Lock holds in order of id, then all their counters in one statement, as `lock` does; return both. Raises NotFound.

    `beside`: work without a hold in these months, whose counters are locked with them.
    """
    rows = list(Hold.objects.select_for_update(no_key=True).filter(pk__in=hold_ids).order_by("pk"))
    if len(rows) < len(set(hold_ids)):
        raise NotFound("There is no such hold.")
    known = set(months)
    work = beside or Work(())
    later, earlier = set(known if beside else ()), set[date]()
    for row in rows:
        others = known - {row.period} if row.state == OPEN else set[date]()
        later |= {month for month in others if month > row.period}
        earlier |= {month for month in others if month < row.period}
        work = work.joined(work_of(row.project_id, row.tags, row.person))
    ids = [row.pk for row in rows]
    locked = counters.lock_for_holds(ids, work, sorted(later), sorted(earlier - later))
    wallets = {currency: prepaid.running_headroom(currency) for currency in sorted({row.currency for row in rows})}
    one = len(rows) == 1 and beside is None
    lies_on = set[tuple[UUID, UUID]]()
    if not one:
        lies_on = set(HoldShare.objects.filter(hold_id__in=ids).values_list("hold_id", "counter_id"))
    states = {
        row.pk: HoldState(
            row.pk,
            row.project_id,
            row.period,
            row.currency,
            row.amount,
            row.settled,
            row.state,
            tuple(
                counter
                for counter in locked
                if one
                or (row.pk, counter.id) in lies_on
                or (row.state == OPEN and counter.concerns(row.project_id, row.tags, row.person))
            ),
            row.tags,
            row.person,
            prepaid=wallets[row.currency],
        )
        for row in rows
    }
    return states, locked


def work_of(project_id: UUID, tags: Mapping[str, str], person: UUID | None) -> Work:
    """Return what decides which budgets apply to a piece of work."""
    return Work((project_id,), marks(tags), (person,) if person else ())


def lock_now(hold_id: UUID, months: Iterable[date] = ()) -> HoldState:
    """Lock a hold, its counters, and those of `months` and of the running month, to which it may roll over.

    Raises NotFound.
    """
    return lock(hold_id, [running_month()[0], *months])


def running_month() -> tuple[date, str]:
    """Return the tenant-local month and its currency."""
    at = tenant_today()
    return at.period, at.currency
