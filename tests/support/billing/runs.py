"""A run of each month must find the figures that the pages of each tenant show."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import transaction

from billing.models import Invoice, PreparedDraft
from billing.models.invoicing import PERIOD, VOID
from billing.queries.drafts import drafts
from billing.runs.preparing import prepare
from tenants.isolation.scoping import tenant_scope
from tenants.models import Tenant
from tests.support import selling

Figures = tuple[UUID | None, Decimal, Decimal, Decimal]


def check_that_runs_agree(chunk: int = 3) -> int:
    """Run each month that has an invoice, and compare each tenant's drafts with the invoices; return how many there are.

    What a tenant's invoices come to is computed in its own scope, as its pages do it.
    """
    with selling.role("exchequer_control"):
        tenants = list(Tenant.objects.order_by("id").values_list("id", flat=True))
        wanted = {tenant: _invoices(tenant) for tenant in tenants}
        months = {month for found in wanted.values() for month, _ in found}
        for month in sorted(months):
            for at in range(0, len(tenants), chunk):
                with transaction.atomic():
                    assert prepare(month, tenants[at : at + chunk]) == []
            for tenant in tenants:
                of_month = {currency: of for (period, currency), of in wanted[tenant].items() if period == month}
                assert _prepared(tenant, month) == of_month, (tenant, month)
    return sum(map(len, wanted.values()))


def _invoices(tenant: UUID) -> dict[tuple[date, str], Figures]:
    with tenant_scope(tenant):
        rows = list(Invoice.objects.filter(kind=PERIOD).exclude(state=VOID))
        computed = drafts([(row.pk, row.period, row.currency) for row in rows if row.total is None])
    found: dict[tuple[date, str], Figures] = {}
    for row in rows:
        draft: Any = computed.get(row.pk)
        sums = (row.subtotal, row.tax, row.total)
        if draft:
            sums = (draft.subtotal.amount, draft.tax.amount, draft.total.amount)
        found[row.period, row.currency] = (row.pk, *sums)
    return found


def _prepared(tenant: UUID, month: date) -> dict[str, Figures]:
    with tenant_scope(tenant):
        rows = PreparedDraft.objects.filter(period=month).exclude(invoice=None)
        return {row.currency: (row.invoice_id, row.subtotal, row.tax, row.total) for row in rows}
