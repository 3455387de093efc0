"""Credit that is open, as bills take it, and how far a prepaid wallet covers work.

The wallet's row counts what is held and unbilled, moved by the ledger's own statement (`ledger.post`). Its lock comes
after those of hold and counters; what credit covers is read under it, so it is never stale.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.models import Contract, CreditBlock
from billing.models.wallets import CREDITED, PAID_CREDIT
from billing.money import Money
from billing.rating.billed.credits import Credit, CreditKind
from billing.rating.billed.tax import highest_percent
from billing.rating.billed.usage import Scope
from billing.rating.calendar import next_period, period_of
from billing.rating.prepaid import OpenMonths, usage_covered
from billing.taxes.queries import tax_table
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows

NOTHING = Decimal(0)
LONGEST_TITLE = 120
ONE_DAY = timedelta(days=1)
TERMS = """
  c.id AS contract_id, coalesce((c.terms ->> 'paid_first')::boolean, false) AS paid_first,
  coalesce((c.terms ->> 'prepaid')::boolean, false) AS prepaid, (exchequer_now() AT TIME ZONE t.timezone)::date AS today
"""
IN_FORCE = """
  billing_contract c ON c.tenant_id = t.id AND c.starts_on <= (exchequer_now() AT TIME ZONE t.timezone)::date
  AND (c.ends_on IS NULL OR c.ends_on > (exchequer_now() AT TIME ZONE t.timezone)::date)
"""
FIND = f"""
SELECT w.held, w.spent, {TERMS} FROM billing_wallet w JOIN tenants_tenant t ON t.id = w.tenant_id JOIN {IN_FORCE}
WHERE w.tenant_id = %(tenant)s AND w.currency = %(currency)s AND w.counted AND c.terms @> '{{"prepaid": true}}'
"""  # noqa: S608 (constants)
LOCK = f"{FIND} FOR NO KEY UPDATE OF w"
LOOK = f"""
SELECT u.held, u.spent, {TERMS}
FROM tenants_tenant t LEFT JOIN {IN_FORCE} CROSS JOIN billing_prepaid_use(%(currency)s) u WHERE t.id = %(tenant)s
"""  # noqa: S608 (constants)
UNBILLED = "SELECT billing_unbilled_of_month(%(period)s, %(currency)s)"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a prepaid wallet covers, and what of it is held and unbilled; in usage before tax."""

    covered: Decimal
    held: Decimal
    spent: Decimal
    prepaid: bool = True

    @property
    def available(self) -> Decimal:
        """What may still be held."""
        return max(self.covered - self.held - self.spent, NOTHING)

    @property
    def running(self) -> Decimal:
        """What running work may still use up."""
        return max(self.covered - self.spent, NOTHING)


def open_credits(currency: str) -> list[Credit]:
    """Return the blocks of which something is left, as a bill takes them."""
    rows = CreditBlock.objects.filter(currency=currency, remaining__gt=0).order_by("id")
    return [credit_of(row) for row in rows]


def credit_of(row: CreditBlock) -> Credit:
    """Return a block as a bill takes it. Money that was paid pays any month."""
    return Credit(
        key=str(row.pk),
        kind=CreditKind(row.kind),
        left=Money(row.remaining, row.currency),
        starts_on=date.min if row.kind == PAID_CREDIT else row.starts_on,
        expires_on=row.expires_on,
        priority=row.priority,
        scope=Scope(frozenset(row.meters), frozenset(UUID(one) for one in row.projects)),
        title=_title(row),
    )


def _title(block: CreditBlock) -> str:
    """Return why there is a block, for the line of an invoice that uses it."""
    reason = f"credit note {block.reason}" if block.source == CREDITED else block.reason
    return reason if len(reason) <= LONGEST_TITLE else f"{reason[: LONGEST_TITLE - 1]}…"


def standing(currency: str, *, lock: bool = False) -> Standing | None:
    """Return how the wallet of the open scope stands; None unless the contract in force is prepaid."""
    asked: dict[str, Any] = {"tenant": current_tenant_id(), "currency": currency}
    with connection.cursor() as cursor:
        cursor.execute(LOCK if lock else FIND, asked)
        rows = named_rows(cursor)
    return _standing(rows[0], asked) if rows else None


def outlook(currency: str) -> Standing:
    """Return what the credit of the open scope covers, and what is held and unbilled, prepaid or not."""
    asked: dict[str, Any] = {"tenant": current_tenant_id(), "currency": currency}
    with connection.cursor() as cursor:
        cursor.execute(LOOK, asked)
        (row,) = named_rows(cursor)
    return _standing(row, asked)


def _standing(row: Any, asked: dict[str, Any]) -> Standing:
    credits, months = open_credits(asked["currency"]), _months(row.today)
    if any(one.kind is CreditKind.PROMOTIONAL and one.expires_on and one.expires_on <= months.last for one in credits):
        with connection.cursor() as cursor:
            cursor.execute(UNBILLED, {**asked, "period": period_of(months.before)})
            months = OpenMonths(months.last, months.before, cursor.fetchone()[0])
    contract = Contract.objects.filter(pk=row.contract_id).first()
    taxed = tax_table().terms(contract, period_of(row.today))
    percent = highest_percent(taxed, months.last) if taxed else NOTHING
    covered = usage_covered(credits, months, percent, paid_first=row.paid_first)
    return Standing(covered, row.held, row.spent, row.prepaid)


def _months(today: date) -> OpenMonths:
    first = period_of(today)
    return OpenMonths(next_period(first) - ONE_DAY, first - ONE_DAY)
