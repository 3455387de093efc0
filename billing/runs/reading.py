"""What the drafts of many tenants are made of, read at once: a number of statements that does not grow with the tenants.

The functions of the database show the ops worker rows of the tenants that it names. Sums and lines are read in portions,
so that a tenant with many of them does not fill the memory with those of the others.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import chain, groupby
from typing import Any
from uuid import UUID

from django.db import connection

from billing.credit.queries import credit_of
from billing.models import Contract, CreditBlock
from billing.models.invoicing import STANDING
from billing.pg_arrays import array, iso, uuid
from billing.queries.lines import PRICED, PRICES
from billing.rating.billed.credits import Credit
from billing.usage.reserved_sources import own_sources
from tenants.isolation.scoping import all_tenants
from tenants.rows import named_portions, named_rows

REASON = "a run of a month prepares the drafts of many tenants"
PORTION = 2_000
INVOICES = """
SELECT tenant_id, id, period, currency, state, subtotal, tax, total FROM billing_run_invoices(%s::uuid[], %s::date, %s::date)
ORDER BY tenant_id, period, currency
"""
CONTRACTS = "SELECT * FROM billing_run_contracts(%s::uuid[], %s::date)"
CREDITS = "SELECT * FROM billing_run_credits(%s::uuid[]) ORDER BY tenant_id, id"
# In the order of `billing.queries.lines.COMPUTED`.
SUMS = f"""
SELECT r.tenant_id, r.period, r.project_id, '' AS project_name, '' AS project_slug, r.meter_id, r.meter, r.meter_title, r.unit,
  r.aggregation, {PRICED}, coalesce(x.target, b.currency) AS currency
FROM billing_run_sums(%s::uuid[], %s::date[], %s::text[]) r
{PRICES}
ORDER BY r.tenant_id, r.period, r.origin NULLS FIRST, r.first_hour, r.project_id, r.meter, r.price_id, r.rate_id, r.outside
"""  # noqa: S608 (constants)
FROZEN = """
SELECT tenant_id, invoice_id, kind, project_id, meter, meter_title, price_id, measured, amount
FROM billing_run_lines(%s::uuid[], %s::uuid[]) ORDER BY tenant_id, invoice_id, n
"""


@dataclass(slots=True)
class Account:
    """A tenant as a run reads it: `invoices` of both months that are not void, and `before` the drafts of earlier ones.

    `sums` are those of the usage lines of drafts, `frozen` the lines of standing invoices.
    """

    tenant_id: UUID
    invoices: list[Any] = field(default_factory=list)
    before: list[Any] = field(default_factory=list)
    contracts: list[Contract] = field(default_factory=list)
    credits: dict[str, list[Credit]] = field(default_factory=dict)
    sums: Sequence[Any] = ()
    frozen: Sequence[Any] = ()

    def paid_in(self, row: Any) -> str:
        """Return the currency of a sum: free usage has that of the month in which it was used."""
        month: date = row.origin or row.period
        begun = [one for one in self.contracts if one.starts_on <= month]
        return row.currency or (max(begun, key=lambda one: one.starts_on).currency if begun else self.first)

    @property
    def first(self) -> str:
        """The currency before the first contract."""
        found = min(self.contracts, key=lambda one: one.starts_on, default=None)
        return "" if found is None else found.currency_before or found.currency

    def left(self, period: date) -> str:
        """Return the currency that a contract changed with this month; empty for none."""
        return next((one.currency_before for one in self.contracts if one.starts_on == period), "")

    def drafts(self) -> list[Any]:
        """Return the invoices that do not stand."""
        return [row for row in self.invoices if row.state not in STANDING]

    def months(self) -> set[date]:
        """Return the months of which usage is read: those of drafts, and where there is credit of earlier drafts, too."""
        drafts = self.drafts()
        paid_in = {row.currency for row in drafts} & self.credits.keys()
        return {row.period for row in drafts} | {row.period for row in self.before if row.currency in paid_in}


def accounts(tenants: Sequence[UUID], last: date, period: date) -> Generator[Account, None, None]:
    """Yield these tenants, given in order, with what their drafts of two months are made of. Within one transaction."""
    found = {tenant_id: Account(tenant_id) for tenant_id in tenants}
    named = array(tenants, uuid)
    with connection.cursor() as cursor:
        cursor.execute(INVOICES, [named, last, period])
        for row in named_rows(cursor):
            of = found[row.tenant_id]
            (of.invoices if row.period >= last else of.before).append(row)
    with all_tenants(REASON):
        for contract in Contract.objects.raw(CONTRACTS, [named, period]):
            found[contract.tenant_id].contracts.append(contract)
        for block in CreditBlock.objects.raw(CREDITS, [named]):
            found[block.tenant_id].credits.setdefault(block.currency, []).append(credit_of(block))
    months = [(of.tenant_id, month) for of in found.values() for month in sorted(of.months())]
    stand = [(of.tenant_id, row.id) for of in found.values() for row in of.invoices if row.state in STANDING]
    asked = [*_arrays(months, iso), own_sources()] if months else None
    with _by_tenant(SUMS, asked) as sums, _by_tenant(FROZEN, _arrays(stand, uuid) if stand else None) as frozen:
        for account in found.values():
            account.sums, account.frozen = sums.of(account.tenant_id), frozen.of(account.tenant_id)
            yield account
            account.sums = account.frozen = ()


def contracts_of(tenants: Sequence[UUID], period: date) -> list[Contract]:
    """Return the contracts of these tenants that begin by a month."""
    with all_tenants(REASON):
        return list(Contract.objects.raw(CONTRACTS, [array(tenants, uuid), period]))


def _arrays(pairs: Sequence[tuple[UUID, Any]], write: Callable[[Any], str]) -> list[str]:
    """Return tenants and what is asked of them as two arrays."""
    return [array((tenant for tenant, _ in pairs), uuid), array((what for _, what in pairs), write)]


class _Rows:
    """Rows in the order of their tenants, of which those of one tenant are kept at a time."""

    def __init__(self, rows: Iterable[Any]) -> None:
        self._groups = groupby(rows, lambda row: row.tenant_id)
        self._next: tuple[UUID, Iterable[Any]] | None = next(self._groups, None)

    def of(self, tenant_id: UUID) -> list[Any]:
        """Return the rows of a tenant that follows those of before."""
        if self._next is None or self._next[0] != tenant_id:
            return []
        rows = list(self._next[1])
        self._next = next(self._groups, None)
        return rows


@contextmanager
def _by_tenant(statement: str, asked: Sequence[Any] | None) -> Iterator[_Rows]:
    """Yield the rows of a statement; none without anything to ask for."""
    if asked is None:
        yield _Rows(())
        return
    with connection.chunked_cursor() as cursor:
        cursor.execute(statement, asked)
        yield _Rows(chain.from_iterable(named_portions(cursor, PORTION)))
