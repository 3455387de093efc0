"""What the last reconciliation of each tenant found, as the seller lists it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from billing.pg_arrays import parsed_list
from tenants.operators.attention import MOST, Matter
from tenants.rows import named_rows

ROWS = """
SELECT t.id, t.slug, t.name, r.checked_at, r.faults
FROM tenants_tenant t LEFT JOIN billing_reconciliation r ON r.tenant_id = t.id
WHERE (NOT %(differing)s OR r.faults <> '[]') AND (%(after)s::text IS NULL OR t.slug > %(after)s) ORDER BY t.slug LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class ReconciledTenant:
    """A tenant, when it was reconciled last, and the faults found; `ok` is None if it never was."""

    tenant_id: UUID
    tenant_slug: str
    tenant_name: str
    checked_at: datetime | None
    ok: bool | None
    faults: Sequence[str]


def reconciled(*, after: str | None = None, limit: int = 50, differing: bool = False) -> list[ReconciledTenant]:
    """Return tenants by slug with their last reconciliation, all or those whose figures differ.

    `after` is the slug of the previous page's last.
    """
    with connection.cursor() as cursor:
        cursor.execute(ROWS, {"after": after, "limit": limit, "differing": differing})
        return [_row(row) for row in named_rows(cursor)]


def differing() -> list[Matter]:
    """Return the number of tenants whose figures differ, for the console's home."""
    number = len(reconciled(limit=MOST, differing=True))
    text = "Organisations whose figures differ: nothing of them is finalised"
    return [Matter(text=text, number=number, page="operator-reconciliation", level="bad")]


def _row(row: Any) -> ReconciledTenant:
    faults = parsed_list(row.faults)
    ok = None if row.checked_at is None else not faults
    return ReconciledTenant(row.id, row.slug, row.name, row.checked_at, ok, faults)
