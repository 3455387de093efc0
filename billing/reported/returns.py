"""The money of voided usage: counter-entries in the ledger and the counters that charged it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from django.db import connection

from billing.budgets import counters, holds
from billing.budgets.counters import Dated
from billing.ledger import ledger
from billing.ledger.ledger import AVAILABLE, SPENT, UNHELD, LedgerAccount, LedgerEntry
from billing.models import Hold
from billing.usage.rollups import Segment
from tenants.isolation.scoping import current_tenant_id

SETTLED = """
SELECT DISTINCT t.batch_id, t.hold_id, t.period, p.pot FROM billing_ledgertransaction t
JOIN billing_ledgerposting p ON p.tenant_id = t.tenant_id AND p.transaction_id = t.id
WHERE t.tenant_id = %s AND t.batch_id = ANY(%s::uuid[]) AND t.kind = 'settle'
  AND p.pot_kind = 'counter' AND p.account = 'spent' AND p.amount > 0
"""
Place = tuple[UUID | None, UUID | None, date]
"""A reporting request, the hold that paid, the month."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A stored segment of a reported event, with the keys to find its budgets."""

    segment: Segment
    recorded_at: datetime
    tags: Mapping[str, str]
    person: UUID | None

    @property
    def place(self) -> Place:
        """Where the ledger has its charge."""
        return self.segment.batch_id, self.segment.hold_id, self.segment.month


def return_money(taken: Sequence[Taken], reason: str) -> None:
    """Reverse charges in the ledger and the counters, for their budgets and the holds' and projects' accounts.

    What an open hold paid leaves the hold, too: the money returns to the budgets.
    """
    charged = [item for item in taken if item.segment.amount]
    if not charged:
        return
    named = {item.segment.hold_id for item in charged if item.segment.hold_id}
    kept = Hold.objects.select_for_update(no_key=True).filter(pk__in=named).order_by("pk")
    paid_by = {hold.pk: hold for hold in kept}
    dated = counters.lock_months({item.segment.month for item in charged})
    settled = _settled({item.segment.batch_id for item in charged if item.segment.hold_id})
    paid_in = {item.segment.month: item.segment.currency for item in charged}
    moves: dict[Place, dict[tuple[LedgerAccount, str], Decimal]] = defaultdict(lambda: defaultdict(Decimal))
    back: dict[tuple[UUID, str], Decimal] = defaultdict(Decimal)
    of_holds: dict[UUID, Decimal] = defaultdict(Decimal)
    for item in charged:
        legs, segment = moves[item.place], item.segment
        if segment.hold_id is None:
            legs[LedgerAccount("project", segment.project_id), UNHELD] += segment.amount
        else:
            legs[LedgerAccount("hold", segment.hold_id), SPENT] += segment.amount
            of_holds[segment.hold_id] += segment.amount
        hold = paid_by.get(segment.hold_id) if segment.hold_id else None
        person = hold.person if hold else item.person
        for one in dated:
            account = _counted_as(one, item, person, settled[item.place])
            if account:
                legs[one.counter.ledger_account, account] += segment.amount
                back[one.counter.id, account] += segment.amount
    for hold_id in sorted(of_holds.keys() & paid_by.keys()):
        holds.give_back(hold_id, of_holds[hold_id], shrink=paid_by[hold_id].state == holds.OPEN)
    for one in dated:
        spent, unheld = back[one.counter.id, SPENT], back[one.counter.id, UNHELD]
        counters.apply_delta([one.counter], one.counter.currency, spent=-spent, unheld=-unheld)
    entries = []
    for (batch_id, payer, period), legs in moves.items():
        postings = [
            posting
            for (owner, account), amount in legs.items()
            for posting in ledger.move(account, AVAILABLE, [owner], amount, paid_in[period])
        ]
        entries.append(LedgerEntry("void", period, postings, hold_id=payer, batch_id=batch_id, reason=reason))
    ledger.post(*entries)


def _settled(batches: Collection[UUID | None]) -> dict[Place, set[UUID]]:
    """Return the counters in which the usage that holds paid for was counted as spent."""
    found: dict[Place, set[UUID]] = defaultdict(set)
    if batches:
        with connection.cursor() as cursor:
            cursor.execute(SETTLED, [current_tenant_id(), list(batches)])
            for batch_id, hold_id, period, counter_id in cursor.fetchall():
                found[batch_id, hold_id, period].add(counter_id)
    return found


def _counted_as(one: Dated, item: Taken, person: UUID | None, settled: Collection[UUID]) -> str:
    """Return the account in which a budget's period counts a charge; empty if it does not.

    A budget created later includes it in its opening, one closed before does not count it.
    """
    counter, segment = one.counter, item.segment
    if segment.hold_id is not None and counter.id in settled:
        return SPENT
    if (
        counter.currency != segment.currency
        or not counter.covers(segment.month)
        or not counter.concerns(segment.project_id, item.tags, person)
    ):
        return ""
    if one.created_at > item.recorded_at:
        return SPENT if one.opened_with_usage else ""
    if segment.hold_id is not None:
        return ""
    return UNHELD if one.closed_at is None or one.closed_at > item.recorded_at else ""
