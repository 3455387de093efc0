"""Open the invoices of months without usage in which a contract owes something all the same.

Usage opens the invoice of its month. A flat price, a commitment, a minimum or the fee of a savings plan is due without
any, so the run of a month opens the invoice.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any
from uuid import UUID

import structlog
from django.db import connection

from billing.models import Contract, Invoice
from billing.models.invoicing import PERIOD
from billing.pg_arrays import array, uuid
from billing.queries.calendar import tenant_today
from billing.queries.drafts import billed, runs_in
from billing.rating.calendar import period_bounds
from billing.runs.reading import contracts_of
from tenants.ids import uuid7
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant

#: Terms that may come to an amount without usage.
OWING = ("commitments", "minimums", "models", "savings_plans")
# What a month corrects of months in another currency is on an invoice of its own.
WITH_INVOICE = "SELECT tenant_id, currency FROM billing_run_invoices(%s::uuid[], %s::date, %s::date) WHERE period = %s"
OPEN = """
WITH month AS (
  INSERT INTO billing_billingperiod (id, tenant_id, period, starts_at, ends_at) VALUES (gen_random_uuid(), %(tenant)s,
    %(period)s, %(start)s, %(end)s) ON CONFLICT DO NOTHING
)
INSERT INTO billing_invoice (id, tenant_id, period, starts_at, ends_at, currency)
VALUES (%(id)s, %(tenant)s, %(period)s, %(start)s, %(end)s, %(currency)s) ON CONFLICT DO NOTHING
"""
log = structlog.get_logger(__name__)


def open_owed(tenants: Sequence[UUID], period: date) -> None:
    """Open a month's invoice for those of these tenants that have none and owe an amount without usage. Repeatable.

    One that was voided stays so. A failure of one tenant is logged and stops no other.
    """
    named = array(tenants, uuid)
    agreed = (one for one in contracts_of(tenants, period) if runs_in(one, period))
    contracts = [one for one in agreed if any(one.terms.get(name) for name in OWING)]
    if not contracts:
        return
    with connection.cursor() as cursor:
        cursor.execute(WITH_INVOICE, [named, period, period, period])
        done = set(cursor.fetchall())
    entered = set(
        Tenant.objects.exclude(standing="closed")
        .filter(pk__in=[one.tenant_id for one in contracts])
        .values_list("pk", flat=True)
    )
    for contract in contracts:
        if contract.tenant_id in entered and (contract.tenant_id, contract.currency) not in done:
            _open_one(contract, period)


def _open_one(contract: Contract, period: date) -> None:
    try:
        with tenant_scope(contract.tenant_id):
            if Invoice.objects.filter(period=period, kind=PERIOD, currency=contract.currency).exists():
                return
            if not billed([], contract, period, contract.currency).subtotal:
                return
            start, end = period_bounds(period, tenant_today().zone)
            values: dict[str, Any] = {
                "id": uuid7(),
                "tenant": contract.tenant_id,
                "period": period,
                "start": start,
                "end": end,
                "currency": contract.currency,
            }
            with connection.cursor() as cursor:
                cursor.execute(OPEN, values)
    except Exception:
        log.exception("period_run.not_opened", tenant=str(contract.tenant_id), period=period.isoformat())
