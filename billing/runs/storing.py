"""Prepared drafts are stored for many tenants at once, and written only where a figure changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from billing.pg_arrays import array, uuid
from tenants.ids import uuid7

FIGURES = "invoice_id, subtotal, tax, total, last_total, flags, severity"
NEW = ", ".join(f"EXCLUDED.{name}" for name in FIGURES.split(", "))
OLD = ", ".join(f"d.{name}" for name in FIGURES.split(", "))
STORE = f"""
INSERT INTO billing_prepareddraft AS d (id, tenant_id, period, currency, {FIGURES})
SELECT n.id, n.tenant_id, %(period)s, n.currency, n.invoice_id, n.subtotal, n.tax, n.total, n.last_total, n.flags, n.severity
FROM unnest(%(ids)s::uuid[], %(tenants)s::uuid[], %(currencies)s::text[], %(invoices)s::uuid[], %(subtotals)s::numeric[],
  %(taxes)s::numeric[], %(totals)s::numeric[], %(lasts)s::numeric[], %(flags)s::jsonb[], %(severities)s::smallint[])
  AS n (id, tenant_id, currency, invoice_id, subtotal, tax, total, last_total, flags, severity)
ON CONFLICT (tenant_id, period, currency) DO UPDATE SET ({FIGURES}, prepared_at) = ROW ({NEW}, exchequer_now())
WHERE ({OLD}) IS DISTINCT FROM ({NEW})
"""  # noqa: S608 (constants)
FORGET = """
DELETE FROM billing_prepareddraft d WHERE d.tenant_id = ANY (%(all)s::uuid[]) AND d.period = %(period)s AND NOT EXISTS (
  SELECT FROM unnest(%(tenants)s::uuid[], %(currencies)s::text[]) AS n (tenant_id, currency)
  WHERE n.tenant_id = d.tenant_id AND n.currency = d.currency)
"""


class Prepared(NamedTuple):
    """What a tenant's month comes to in one currency."""

    tenant_id: UUID
    currency: str
    invoice_id: UUID | None
    subtotal: Decimal
    tax: Decimal
    total: Decimal
    last_total: Decimal | None
    flags: Sequence[Mapping[str, str | None]]
    severity: int


def store(period: date, tenants: Sequence[UUID], rows: Sequence[Prepared]) -> None:
    """Store what a month of these tenants comes to, if that is not what is stored; they have no other rows of it then."""
    named: dict[str, Any] = {
        "period": period,
        "all": array(tenants, uuid),
        "ids": array((uuid7() for _ in rows), uuid),
        "tenants": array((row.tenant_id for row in rows), uuid),
        "currencies": array((row.currency for row in rows), str),
        "invoices": array((row.invoice_id for row in rows), uuid),
        "subtotals": array((row.subtotal for row in rows), str),
        "taxes": array((row.tax for row in rows), str),
        "totals": array((row.total for row in rows), str),
        "lasts": array((row.last_total for row in rows), str),
        "flags": [json.dumps(row.flags) for row in rows],
        "severities": array((row.severity for row in rows), str),
    }
    with connection.cursor() as cursor:
        if rows:
            cursor.execute(STORE, named)
        cursor.execute(FORGET, named)
