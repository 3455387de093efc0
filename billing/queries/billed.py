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


def charged(resources: Iterable[str]) -> dict[str, Decimal]:
    """Return the charges of each of these resources, zero if nothing was recorded.

    Sums only usage that belongs to no job, which the index on jobs finds.
    """
    wanted = list(resources)
    if not wanted:
        return {}
    if not sees_money():
        return dict.fromkeys(wanted, NOTHING)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT s.resource, sum(r.amount) "
            "FROM billing_usageseries s JOIN billing_usagerollup r ON r.tenant_id = s.tenant_id AND r.series_hash = s.hash "
            "WHERE s.tenant_id = %s AND s.job_id IS NULL AND s.resource = ANY(%s::text[]) GROUP BY 1",
            [current_tenant_id(), wanted],
        )
        found: dict[str, Decimal] = dict(cursor.fetchall())
    return {resource: found.get(resource, NOTHING) for resource in wanted}


def _billed(column: Literal["job_id", "attempt_id"], ids: Iterable[UUID]) -> dict[UUID, Billed]:
    wanted = list(ids)
    if not wanted:
        return {}
    amount = "sum(r.amount)" if sees_money() else "0::numeric"
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT s.{column} AS id, sum(r.billable) AS billable, {amount} AS amount, sum(r.measured) AS measured "  # noqa: S608
            "FROM billing_usageseries s JOIN billing_usagerollup r ON r.tenant_id = s.tenant_id AND r.series_hash = s.hash "
            f"WHERE s.tenant_id = %s AND s.{column} = ANY(%s::uuid[]) GROUP BY 1",
            [current_tenant_id(), wanted],
        )
        found = {row.id: Billed(row.billable, row.amount, row.measured) for row in named_rows(cursor)}
    return {wanted_id: found.get(wanted_id, Billed()) for wanted_id in wanted}
