"""The double-entry ledger behind holds, settlements and waivers; counters can be re-derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Literal
from uuid import UUID

from django.db import connection

from billing.models.ledger import AVAILABLE, HELD, SPENT, UNHELD
from tenants.ids import uuid7
from tenants.scoping import current_tenant_id

__all__ = ["AVAILABLE", "HELD", "SPENT", "UNHELD", "Posting", "Pot", "move", "post"]

PotKind = Literal["hold", "counter", "project"]

POST = """
WITH entry AS (
  INSERT INTO billing_ledgertransaction (id, tenant_id, kind, period, hold_id, attempt_id, reason)
  VALUES (%(id)s, %(tenant)s, %(kind)s, %(period)s, %(hold)s, %(attempt)s, %(reason)s)
)
INSERT INTO billing_ledgerposting (id, tenant_id, transaction_id, account, pot, pot_kind, currency, amount)
SELECT gen_random_uuid(), %(tenant)s, %(id)s, p.account, p.pot, p.pot_kind, p.currency, p.amount
FROM unnest(%(accounts)s::text[], %(pots)s::uuid[], %(kinds)s::text[], %(currencies)s::text[], %(amounts)s::numeric[])
  AS p(account, pot, pot_kind, currency, amount)
"""


@dataclass(frozen=True, slots=True)
class Pot:
    """Whose money moves: a hold, a budget's month, or a project where no hold covered the usage."""

    kind: PotKind
    id: UUID


@dataclass(frozen=True, slots=True)
class Posting:
    """One leg of a transaction; the legs of a currency add up to zero."""

    account: str
    pot: Pot
    currency: str
    amount: Decimal


def move(source: str, target: str, pots: Sequence[Pot], amount: Decimal, currency: str) -> list[Posting]:
    """Return the legs that move `amount` between two accounts of every pot; none for zero."""
    if not amount:
        return []
    return [
        Posting(account, pot, currency, signed)
        for pot in pots
        for account, signed in ((source, -amount), (target, amount))
    ]


def post(
    kind: str,
    period: date,
    postings: Sequence[Posting],
    *,
    hold_id: UUID | None = None,
    attempt_id: UUID | None = None,
    reason: str = "",
) -> None:
    """Append one transaction in the open scope; nothing for no postings. The database refuses an unbalanced one at commit."""
    if not postings:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            POST,
            {
                "id": uuid7(),
                "tenant": current_tenant_id(),
                "kind": kind,
                "period": period,
                "hold": hold_id,
                "attempt": attempt_id,
                "reason": reason[:200],
                "accounts": [posting.account for posting in postings],
                "pots": [posting.pot.id for posting in postings],
                "kinds": [posting.pot.kind for posting in postings],
                "currencies": [posting.currency for posting in postings],
                "amounts": [posting.amount for posting in postings],
            },
        )
