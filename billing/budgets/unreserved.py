"""Usage that no hold paid for: it can no longer be refused, but it reduces the headroom of its budgets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from uuid import UUID

from billing.budgets import counters
from billing.budgets.counters import Counter, Work
from billing.ledger import ledger
from billing.ledger.ledger import AVAILABLE, UNHELD, LedgerAccount, LedgerEntry
from billing.rating.calendar import period_of
from billing.rating.tags import marks, tags_in
from billing.usage.intervals import Series
from billing.usage.rollups import Segment

NOTHING = Decimal(0)
People = Mapping[UUID | None, UUID | None]
NOBODY: People = {}


def count_unreserved(
    segments: Sequence[Segment],
    series: Mapping[bytes, Series],
    people: People = NOBODY,
    *,
    budgeted: bool = True,
) -> None:
    """Lock the budgets of unreserved usage and count it there. `people`: whose it is, by reporting request.

    `budgeted`: whether there is any budget, where the caller has read that under the lock of their set.
    """
    charged = [segment for segment in segments if segment.amount]
    if charged:
        locked: Sequence[Counter] = ()
        if budgeted:
            months = {period_of(day) for day in {segment.place.day for segment in charged}}
            locked = counters.lock_scope(work_of(charged, series, people), months)
        count_in(locked, charged, series, people)


def work_of(segments: Sequence[Segment], series: Mapping[bytes, Series], people: People) -> Work:
    """Return what decides which budgets these segments count against."""
    places = {id(one.place): one.place for one in segments}.values()
    tags = {mark for key in {place.series for place in places} for mark in marks(tags_in(series[key].carried))}
    batches = {one.batch_id for one in segments} if people else ()
    persons = {person for one in batches if (person := people.get(one)) is not None}
    return Work({place.project_id for place in places}, tags, persons)


def count_in(
    locked: Sequence[Counter],
    charged: Sequence[Segment],
    series: Mapping[bytes, Series],
    people: People,
) -> None:
    """Count charged segments in locked counters.

    One ledger transaction for each month, reporting request, project and set of budgets, with the shares of its attempts.
    """
    sums: dict[tuple[int, int], Decimal] = {}
    firsts: dict[tuple[int, int], Segment] = {}
    for segment in charged:
        where = (id(segment.place), id(segment.batch_id))
        before = sums.get(where)
        if before is None:
            firsts[where] = segment
        sums[where] = segment.amount if before is None else before + segment.amount
    charges: dict[tuple[date, str, UUID | None, UUID, tuple[LedgerAccount, ...]], dict[UUID | None, Decimal]] = {}
    growth: dict[UUID, Decimal] = {}
    months = {day: period_of(day) for day in {segment.place.day for segment in firsts.values()}}
    for where, segment in firsts.items():
        place, of, amount = segment.place, series[segment.place.series], sums[where]
        month, budgets = months[place.day], tuple[LedgerAccount, ...]()
        if locked:
            whose = (place.project_id, tags_in(of.carried), people.get(segment.batch_id))
            covering = [one for one in locked if one.covers(month) and one.currency == place.currency]
            concerned = [counter for counter in covering if counter.concerns(*whose)]
            budgets = tuple(counter.ledger_account for counter in concerned)
            for counter in concerned:
                growth[counter.id] = growth.get(counter.id, NOTHING) + amount
        mark = (month, place.currency, segment.batch_id, place.project_id, budgets)
        amounts = charges.get(mark)
        if amounts is None:
            amounts = charges[mark] = {}
        amounts[of.attempt_id] = amounts.get(of.attempt_id, NOTHING) + amount
    entries = []
    for (period, currency, batch_id, project_id, budgets), amounts in charges.items():
        accounts = (LedgerAccount("project", project_id), *budgets)
        for attempt_id, shares, amount in ledger.charges(amounts):
            legs = ledger.move(AVAILABLE, UNHELD, accounts, amount, currency)
            entries.append(LedgerEntry("unheld", period, legs, attempt_id=attempt_id, batch_id=batch_id, shares=shares))
    # Each counter moves once by the batch's total, so that it sees every threshold crossed.
    alike: dict[tuple[Decimal, str], list[Counter]] = {}
    for counter in locked:
        alike.setdefault((growth.get(counter.id, NOTHING), counter.currency), []).append(counter)
    for (amount, currency), those in alike.items():
        counters.apply_delta(those, currency, unheld=amount)
    ledger.post(*entries)
