"""The double-entry ledger behind holds, settlements and adjustments; counters can be derived from it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from billing.models.ledger import AVAILABLE, HELD, SPENT, UNHELD
from billing.pg_arrays import array, iso, uuid
from tenants.ids import uuid7
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import prepared_cursor

__all__ = ["AVAILABLE", "HELD", "SPENT", "UNHELD", "LedgerAccount", "LedgerEntry", "Posting", "charges", "move", "post"]

AccountKind = Literal["hold", "counter", "project", "invoice", "wallet", "credit", "tenant"]

POST = """
WITH entry AS (
  INSERT INTO billing_ledgertransaction (id, tenant_id, kind, period, hold_id, attempt_id, batch_id, invoice_id, reason, posted_at)
  SELECT t.id, %(tenant)s, t.kind, t.period, t.hold_id, t.attempt_id, t.batch_id, t.invoice_id, t.reason, (SELECT exchequer_now())
  FROM unnest(%(id)s::uuid[], %(kind)s::text[], %(period)s::date[], %(hold_id)s::uuid[], %(attempt_id)s::uuid[], %(batch_id)s::uuid[],
    %(invoice_id)s::uuid[], %(reason)s::text[]) AS t(id, kind, period, hold_id, attempt_id, batch_id, invoice_id, reason)
), prepaid AS (
  UPDATE billing_wallet w SET held = w.held + m.held, spent = w.spent + m.spent
  FROM unnest(%(moved)s::text[], %(held)s::numeric[], %(spent)s::numeric[]) AS m(currency, held, spent)
  WHERE w.tenant_id = %(tenant)s AND w.currency = m.currency AND w.counted
)
INSERT INTO billing_ledgerposting (id, tenant_id, transaction_id, account, pot, pot_kind, currency, amount)
SELECT gen_random_uuid(), %(tenant)s, p.entry, p.account, p.pot, p.pot_kind, p.currency, p.amount
FROM unnest(%(entries)s::uuid[], %(accounts)s::text[], %(pots)s::uuid[], %(kinds)s::text[], %(currencies)s::text[], %(amounts)s::numeric[])
  AS p(entry, account, pot, pot_kind, currency, amount)
"""
SHARE = """
INSERT INTO billing_ledgershare (tenant_id, attempt_id, transaction_id, amount)
SELECT %(tenant)s, s.attempt, s.entry, s.amount
FROM unnest(%(attempts)s::uuid[], %(entries)s::uuid[], %(amounts)s::numeric[]) AS s(attempt, entry, amount)
"""


@dataclass(frozen=True, slots=True)
class LedgerAccount:
    """The owner of money: a hold, a budget's month, a project for unreserved usage; an invoice, a wallet, the tenant."""

    kind: AccountKind
    id: UUID


@dataclass(frozen=True, slots=True)
class Posting:
    """One leg of a transaction; the legs of a currency add up to zero."""

    account: str
    ledger_account: LedgerAccount
    currency: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """One transaction to append. `shares`: what each of several attempts has of the amount that it charges."""

    kind: str
    period: date
    postings: Sequence[Posting]
    hold_id: UUID | None = None
    attempt_id: UUID | None = None
    batch_id: UUID | None = None
    invoice_id: UUID | None = None
    reason: str = ""
    shares: Mapping[UUID, Decimal] = field(default_factory=dict)
    id: UUID = field(default_factory=uuid7)


def move(source: str, target: str, owners: Sequence[LedgerAccount], amount: Decimal, currency: str) -> list[Posting]:
    """Return the postings that move `amount` between two states of every ledger account; none for zero."""
    if not amount:
        return []
    legs = ((source, -amount), (target, amount))
    return [Posting(account, owner, currency, signed) for owner in owners for account, signed in legs]


def charges(amounts: Mapping[UUID | None, Decimal]) -> list[tuple[UUID | None, Mapping[UUID, Decimal], Decimal]]:
    """Return what to post for charges by attempt: the attempt or the shares of several, and the sum.

    All attempts are charged in one transaction; work without an attempt in another, so that shares add up to their sum.
    """
    shares = {attempt: amount for attempt, amount in amounts.items() if attempt is not None and amount}
    found: list[tuple[UUID | None, Mapping[UUID, Decimal], Decimal]] = []
    if len(shares) > 1:
        found.append((None, shares, sum(shares.values(), Decimal(0))))
    else:
        found += [(attempt, {}, amount) for attempt, amount in shares.items()]
    return found + [(None, {}, amount) for attempt, amount in amounts.items() if attempt is None]


def post(*entries: LedgerEntry) -> None:
    """Append transactions to the open scope's ledger in one statement, skipping those that move nothing.

    What holds and unreserved usage move, a prepaid wallet counts. The database refuses an unbalanced one at once.
    """
    moving = [entry for entry in entries if entry.postings]
    if not moving:
        return
    legs = [(entry.id, posting) for entry in moving for posting in entry.postings]
    moved = _moved_of_wallets(posting for _, posting in legs)
    columns: dict[str, Any] = {
        "tenant": current_tenant_id(),
        "id": array((entry.id for entry in moving), uuid),
        "kind": array((entry.kind for entry in moving), str),
        "period": array((entry.period for entry in moving), iso),
        "hold_id": array((entry.hold_id for entry in moving), uuid),
        "attempt_id": array((entry.attempt_id for entry in moving), uuid),
        "batch_id": array((entry.batch_id for entry in moving), uuid),
        "invoice_id": array((entry.invoice_id for entry in moving), uuid),
        "reason": [entry.reason[:200] for entry in moving],
        "moved": list(moved),
        "held": array((held for held, _ in moved.values()), str),
        "spent": array((spent for _, spent in moved.values()), str),
        "entries": array((entry_id for entry_id, _ in legs), uuid),
        "accounts": array((posting.account for _, posting in legs), str),
        "pots": array((posting.ledger_account.id for _, posting in legs), uuid),
        "kinds": array((posting.ledger_account.kind for _, posting in legs), str),
        "currencies": array((posting.currency for _, posting in legs), str),
        "amounts": array((posting.amount for _, posting in legs), str),
    }
    shares = [(attempt, entry.id, amount) for entry in moving for attempt, amount in entry.shares.items()]
    with prepared_cursor() as cursor:
        cursor.execute(POST, columns)
        if shares:
            cursor.execute(
                SHARE,
                {
                    "tenant": columns["tenant"],
                    "attempts": array((attempt for attempt, _, _ in shares), uuid),
                    "entries": array((entry_id for _, entry_id, _ in shares), uuid),
                    "amounts": array((amount for _, _, amount in shares), str),
                },
            )


def _moved_of_wallets(postings: Iterable[Posting]) -> dict[str, tuple[Decimal, Decimal]]:
    """Return by currency how much is held, and how much usage is charged, more than before."""
    moved: dict[str, tuple[Decimal, Decimal]] = {}
    for one in postings:
        owner, zero = one.ledger_account.kind, Decimal(0)
        held = one.amount if (one.account, owner) == (HELD, "hold") else zero
        spent = one.amount if (one.account, owner) in ((SPENT, "hold"), (UNHELD, "project")) else zero
        before = moved.get(one.currency, (zero, zero))
        moved[one.currency] = before[0] + held, before[1] + spent
    return {currency: sums for currency, sums in moved.items() if any(sums)}
