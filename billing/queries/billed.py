"""Cost of jobs, attempts and other resources so far."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal
from uuid import UUID

from django.db import connection

from tenants.access.reader import sees_money
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows

NOTHING = Decimal(0)
RECORDED = (
    "FROM billing_usageseries s JOIN billing_usagerollup r ON r.tenant_id = s.tenant_id AND r.series_hash = s.hash "
    "WHERE s.tenant_id = %s"
)


@dataclass(frozen=True, slots=True)
class Billed:
    """Seconds and amount charged (net of adjustments), and the seconds measured."""

    seconds: Decimal = NOTHING
    amount: Decimal = NOTHING
    measured: Decimal = NOTHING


def billed(job_ids: Iterable[UUID]) -> dict[UUID, Billed]:
    """Return the charges of each of these jobs, zero if nothing was recorded."""
    return _billed("job_id", job_ids)


def billed_attempts(attempt_ids: Iterable[UUID]) -> dict[UUID, Billed]:
    """Return the charges of each of these attempts, zero if nothing was recorded."""
    return _billed("attempt_id", attempt_ids)


def charged_sql(resources: str) -> str:
    """Return the text of a statement that reads the charges of resources, as rows of id and amount; its one value is the tenant.

    `resources`: SQL of an array of texts. Those of which nothing was recorded are left out. Sums only usage that belongs to
    no job, which an index finds by the resource.
    """
    return f"SELECT s.resource AS id, {_amount()} {RECORDED} AND s.job_id IS NULL AND s.resource = ANY({resources}) GROUP BY 1"


def billed_sql(one: str, column: Literal["job_id", "attempt_id"] = "job_id") -> str:
    """Return the text of a statement that reads the charges of one job or attempt: billable, measured and amount, null without any.

    `one`: SQL of its id. The one value of the statement is the tenant.
    """
    return f"SELECT sum(r.billable) AS billable, sum(r.measured) AS measured, {_amount()} {RECORDED} AND s.{column} = {one}"


def _amount() -> str:
    return f"{'sum(r.amount)' if sees_money() else '0::numeric'} AS amount"


def _billed(column: Literal["job_id", "attempt_id"], ids: Iterable[UUID]) -> dict[UUID, Billed]:
    wanted = list(ids)
    if not wanted:
        return {}
    with connection.cursor() as cursor:
        charge = billed_sql("wanted.id", column)
        statement = f"SELECT id, charge.* FROM unnest(%s::uuid[]) AS wanted(id), LATERAL ({charge}) charge"  # noqa: S608
        cursor.execute(statement, [wanted, current_tenant_id()])
        rows = named_rows(cursor)
    return {row.id: Billed(row.billable or NOTHING, row.amount or NOTHING, row.measured or NOTHING) for row in rows}
