"""Statements of account: what a tenant owed on a day, what was invoiced, credited, paid and returned, and what it owes then."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.money import Money
from billing.rating.calendar import day_start, local_day
from tenants.errors import Invalid
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Tenant
from tenants.parsing import FIRST_DAY, LAST_DAY
from tenants.rows import named_rows

#: Entries of one statement; a longer range is asked for in parts.
MOST_ENTRIES = 5_000
LONGEST_DAYS = 3_660
ENTRIES = """
WITH entries AS (
  SELECT finalised_at AS at, 'invoice' AS kind, id AS invoice_id, label, total AS amount, '' AS detail FROM billing_invoice
  WHERE tenant_id = %(tenant)s AND currency = %(currency)s AND number IS NOT NULL
  UNION ALL
  SELECT voided_at, 'void', id, label, -total, '' FROM billing_invoice
  WHERE tenant_id = %(tenant)s AND currency = %(currency)s AND state = 'void'
  UNION ALL
  SELECT n.issued_at, 'credit note', i.id, n.label, -n.total, i.label FROM billing_creditnote n
  JOIN billing_invoice i ON i.tenant_id = n.tenant_id AND i.id = n.invoice_id
  WHERE n.tenant_id = %(tenant)s AND i.currency = %(currency)s
  UNION ALL
  SELECT n.issued_at, 'into the wallet', i.id, n.label, n.to_wallet, i.label FROM billing_creditnote n
  JOIN billing_invoice i ON i.tenant_id = n.tenant_id AND i.id = n.invoice_id
  WHERE n.tenant_id = %(tenant)s AND i.currency = %(currency)s AND n.to_wallet > 0
  UNION ALL
  SELECT p.recorded_at, CASE WHEN p.kind = 'refund' AND p.method IN ('reversal', 'dispute') THEN 'reversal' ELSE p.kind END, i.id, i.label, CASE p.kind WHEN 'payment' THEN -p.amount ELSE p.amount END, p.reference
  FROM billing_payment p JOIN billing_invoice i ON i.tenant_id = p.tenant_id AND i.id = p.invoice_id
  WHERE p.tenant_id = %(tenant)s AND p.currency = %(currency)s
)
"""
LISTED = ENTRIES + "SELECT * FROM entries WHERE at >= %(start)s AND at < %(end)s ORDER BY at, kind LIMIT %(limit)s"  # noqa: S608 (constants)
BEFORE = ENTRIES + "SELECT coalesce(sum(amount), 0) FROM entries WHERE at < %(start)s"  # noqa: S608 (constants)
CURRENCIES = "SELECT DISTINCT currency FROM billing_invoice WHERE tenant_id = %s AND number IS NOT NULL ORDER BY 1"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry: positive amounts are owed, negative ones take off; `balance` is what is owed after it."""

    at: datetime
    day: date
    kind: str
    invoice_id: UUID
    number: str
    detail: str
    amount: Money
    balance: Money


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement of the days from `starts_on` to `ends_on`, both included, in the tenant's time zone."""

    starts_on: date
    ends_on: date
    zone: str
    opening: Money
    entries: Sequence[Entry]

    @property
    def closing(self) -> Money:
        """What is owed at the end."""
        return self.entries[-1].balance if self.entries else self.opening


def statement(starts_on: date, ends_on: date, currency: str) -> Statement:
    """Return the statement of the open scope's tenant in one currency. Raises Invalid for a range that is too long."""
    if not (
        timedelta(0) <= ends_on - starts_on <= timedelta(days=LONGEST_DAYS)
        and starts_on >= FIRST_DAY
        and ends_on <= LAST_DAY
    ):
        raise Invalid(fields={"to": ["Give a day that is not before the first, and at most ten years after it."]})
    zone = Tenant.objects.values_list("timezone", flat=True).get(pk=current_tenant_id())
    asked: dict[str, Any] = {
        "tenant": current_tenant_id(),
        "currency": currency,
        "start": day_start(starts_on, zone),
        "end": day_start(ends_on + timedelta(days=1), zone),
        "limit": MOST_ENTRIES + 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(BEFORE, asked)
        opening = Money(cursor.fetchone()[0] or Decimal(0), currency)
        cursor.execute(LISTED, asked)
        rows = named_rows(cursor)
    if len(rows) > MOST_ENTRIES:
        raise Invalid(fields={"to": [f"This range has more than {MOST_ENTRIES:,} entries. Choose a shorter one."]})
    balance, entries = opening, []
    for row in rows:
        amount = Money(row.amount, currency)
        balance += amount
        day = local_day(row.at, zone)
        entries.append(Entry(row.at, day, row.kind, row.invoice_id, row.label, row.detail, amount, balance))
    return Statement(starts_on, ends_on, zone, opening, entries)


def currencies() -> list[str]:
    """Return the currencies in which the open scope's tenant has invoices."""
    with connection.cursor() as cursor:
        cursor.execute(CURRENCIES, [current_tenant_id()])
        return [row[0] for row in cursor.fetchall()]
