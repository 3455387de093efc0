"""Cost of jobs, attempts and other resources so far."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal
from uuid import UUID

from django.db import connection

from billing.money import Money
from billing.queries.calendar import tenant_currencies
from billing.rating.currencies import paid_in
from tenants.access.reader import sees_money
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows

NOTHING = Decimal(0)
RECORDED = (
    "FROM billing_usageseries s JOIN billing_usagerollup r ON r.tenant_id = s.tenant_id AND r.series_hash = s.hash "
    "WHERE s.tenant_id = %s"
)
TODAY = "(exchequer_now() AT TIME ZONE t.timezone)::date"
#: SQL of the tenant's currency of today, and of the first day with it; each `%s` is the tenant.
CURRENCY = f"SELECT billing_currency(t.id, {TODAY}) FROM tenants_tenant t WHERE t.id = %s"  # noqa: S608 (constants)
SINCE = f"""SELECT coalesce(max(k.starts_on), '-infinity') FROM billing_contract k JOIN tenants_tenant t ON t.id = k.tenant_id
WHERE k.tenant_id = %s AND k.currency_before <> '' AND k.starts_on <= {TODAY}"""  # noqa: S608 (constants)


@dataclass(frozen=True, slots=True)
class Billed:
    """Seconds and amounts charged by currency (net of adjustments), and the seconds measured."""

    seconds: Decimal = NOTHING
    amounts: Mapping[str, Decimal] = field(default_factory=dict)
    measured: Decimal = NOTHING

    @classmethod
    def of(cls, billable: Decimal | None, amounts: Mapping[str, str] | None, measured: Decimal | None = None) -> Billed:
        """Return what a statement of `billed_sql` read; null without usage."""
        read = {currency: Decimal(amount) for currency, amount in (amounts or {}).items()}
        return cls(billable or NOTHING, read, measured or NOTHING)

    @property
    def amount(self) -> Decimal:
        """The amount, where all usage has one currency; else that in the newest one."""
        return [NOTHING, *self.amounts.values()][-1]

    def cost(self, currency: str) -> Money:
        """Return what is charged in a currency."""
        return Money(self.amounts.get(currency, NOTHING), currency)

    def worth(self, currency: str) -> Money:
        """Return all that is charged in one currency; what was charged in others is restated."""
        if self.besides(currency):
            restated = tenant_currencies().restated
            return Money(sum((restated(one, paid, currency) for paid, one in self.amounts.items()), NOTHING), currency)
        return self.cost(currency)

    def besides(self, currency: str) -> list[Money]:
        """Return what is charged in other currencies, the newest last."""
        return [Money(amount, other) for other, amount in self.amounts.items() if other != currency and amount]


def billed(job_ids: Iterable[UUID]) -> dict[UUID, Billed]:
    """Return the charges of each of these jobs, zero if nothing was recorded."""
    return _billed("job_id", job_ids)


def billed_attempts(attempt_ids: Iterable[UUID]) -> dict[UUID, Billed]:
    """Return the charges of each of these attempts, zero if nothing was recorded."""
    return _billed("attempt_id", attempt_ids)


def charged_sql(resources: str) -> str:
    """Return the text of a statement that reads the charges of resources in today's currency, as rows of id and amount.

    `resources`: SQL of an array of texts. Those of which nothing was recorded are left out. Sums only usage that belongs to
    no job, which an index finds by the resource. Each `%s` is the tenant.
    """
    return (
        f"SELECT s.resource AS id, {_amount()} AS amount {RECORDED} AND s.job_id IS NULL AND s.resource = ANY({resources}) "
        f"AND r.day >= ({SINCE}) GROUP BY 1"
    )


def billed_sql(one: str, column: Literal["job_id", "attempt_id"] = "job_id") -> str:
    """Return the text of a statement that reads the charges of one job or attempt, as the arguments of `Billed.of`.

    `one`: SQL of its id. Each `%s` is the tenant.
    """
    return f"""SELECT sum(part.billable) AS billable, sum(part.measured) AS measured,
    json_object_agg(part.currency, part.amount::text ORDER BY part.first) AS amounts
FROM (SELECT {paid_in("r.day")} AS currency, sum(r.billable) AS billable, sum(r.measured) AS measured, {_amount()} AS amount,
    min(r.day) AS first {RECORDED} AND s.{column} = {one} GROUP BY 1) part"""  # noqa: S608


def _amount() -> str:
    return "sum(r.amount)" if sees_money() else "0::numeric"


def _billed(column: Literal["job_id", "attempt_id"], ids: Iterable[UUID]) -> dict[UUID, Billed]:
    wanted, charge = list(ids), billed_sql("wanted.id", column)
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        statement = f"SELECT id, charge.* FROM unnest(%s::uuid[]) AS wanted(id), LATERAL ({charge}) charge"  # noqa: S608
        cursor.execute(statement, [wanted, *[current_tenant_id()] * charge.count("%s")])
        rows = named_rows(cursor)
    return {row.id: Billed.of(row.billable, row.amounts, row.measured) for row in rows}
