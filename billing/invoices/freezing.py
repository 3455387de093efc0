"""Store a draft's lines and what its invoice states beside them, with its number and the hash of all of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db import connection

from billing.invoices import numbers
from billing.invoices.parties import Party, customer
from billing.models import Contract, Invoice
from billing.models.invoicing import FINALISED
from billing.pg_arrays import array, iso, uuid
from billing.queries.drafts import Draft
from billing.queries.lines import InvoiceLine
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import current_tenant_id

DAYS_TO_PAY = 30
INSERT = """
INSERT INTO billing_invoiceline (id, tenant_id, invoice_id, n, kind, project_id, project_name, project_slug, meter_id, meter, meter_title, unit, price_id, version_id,
  version_number, unit_amount, dims, details, origin, outside, measured, quantity, intervals, list_amount, exact_amount, amount, tax_rate, tax)
SELECT l.id, %(tenant)s, %(invoice)s, l.n, l.kind, l.project_id, l.project_name, l.project_slug, l.meter_id, l.meter, l.meter_title, l.unit, l.price_id, l.version_id,
  l.version_number, l.unit_amount, l.dims, l.details, l.origin, l.outside, l.measured, l.quantity, l.intervals, l.list_amount, l.exact_amount,
  l.amount, l.tax_rate, l.tax
FROM unnest(%(id)s::uuid[], %(n)s::int[], %(kind)s::text[], %(project_id)s::uuid[],
  %(project_name)s::text[], %(project_slug)s::text[], %(meter_id)s::uuid[], %(meter)s::text[],
  %(meter_title)s::text[], %(unit)s::text[], %(price_id)s::uuid[], %(version_id)s::uuid[], %(version_number)s::int[],
  %(unit_amount)s::numeric[], %(dims)s::jsonb[], %(details)s::jsonb[], %(origin)s::date[], %(outside)s::bool[], %(measured)s::numeric[],
  %(quantity)s::numeric[], %(intervals)s::bigint[], %(list_amount)s::numeric[], %(exact_amount)s::numeric[], %(amount)s::numeric[],
  %(tax_rate)s::numeric[], %(tax)s::numeric[])
  AS l(id, n, kind, project_id, project_name, project_slug, meter_id, meter, meter_title, unit, price_id, version_id, version_number, unit_amount, dims, details, origin,
    outside, measured, quantity, intervals, list_amount, exact_amount, amount, tax_rate, tax)
"""


def store_lines(invoice_id: UUID, lines: Sequence[InvoiceLine]) -> None:
    """Store the lines of a draft in one statement."""
    columns: dict[str, Any] = {
        name: array((getattr(line, name) for line in lines), uuid)
        for name in ("id", "project_id", "meter_id", "price_id", "version_id")
    }
    columns |= {
        name: array((getattr(line, name) for line in lines), str)
        for name in ("n", "version_number", "unit_amount", "outside", "measured", "quantity", "intervals", "tax_rate")
    }
    columns |= {
        name: [getattr(line, name) for line in lines]
        for name in ("kind", "project_name", "project_slug", "meter", "meter_title", "unit")
    }
    columns |= {name: [_json(getattr(line, name)) for line in lines] for name in ("dims", "details")}
    columns |= {
        "origin": array((line.origin for line in lines), iso),
        "list_amount": array((line.list_exact.amount for line in lines), str),
        "exact_amount": array((line.exact.amount for line in lines), str),
        "amount": array((line.amount.amount for line in lines), str),
        "tax": array((line.tax.amount if line.tax else 0 for line in lines), str),
    }
    with connection.cursor() as cursor:
        cursor.execute(INSERT, {**columns, "tenant": current_tenant_id(), "invoice": invoice_id})


def issue(
    invoice: Invoice, draft: Draft, *, contract: Contract | None, issuer: Party, today: date, by: str
) -> tuple[str, date]:
    """Give an invoice the next number, and keep what it states beside its lines; return the number and the due day.

    Last in its transaction, as every other invoice that is being finalised waits for the series.
    """
    due_on = today + timedelta(days=contract.payment_days if contract else DAYS_TO_PAY)
    stated: dict[str, Any] = {
        "due_on": due_on,
        "subtotal": draft.subtotal.amount,
        "tax": draft.tax.amount,
        "total": draft.total.amount,
        "taxes": [row.stored() for row in draft.taxes],
        "seller": issuer.stored(),
        "customer": customer(contract).stored(),
    }
    number = numbers.take(numbers.INVOICES)
    stated["label"] = number.label
    shown = {name: _plain(value) if isinstance(value, Decimal) else value for name, value in stated.items()}
    Invoice.objects.filter(pk=invoice.pk).update(
        state=FINALISED,
        series_id=number.series_id,
        number=number.number,
        finalised_at=DatabaseNow(),
        finalised_by=by[:254],
        content_hash=content_hash(shown, draft.lines),
        paid=draft.covered.amount,
        **stated,
    )
    return number.label, due_on


def content_hash(stated: Mapping[str, Any], lines: Sequence[InvoiceLine]) -> bytes:
    """Return the SHA-256 of what an invoice states, as JSON with sorted keys."""
    listed = [
        {
            "id": line.id,
            "n": line.n,
            "kind": line.kind,
            "project": line.project_id,
            "project_name": line.project_name,
            "meter": line.meter,
            "unit": line.unit,
            "price": line.price_id,
            "unit_amount": _plain(line.unit_amount),
            "dims": dict(line.dims),
            "details": dict(line.details),
            "origin": line.origin,
            "quantity": _plain(line.quantity),
            "amount": _plain(line.amount.amount),
            "tax_rate": None if line.tax_rate is None else _plain(line.tax_rate),
            "tax": _plain(line.tax.amount) if line.tax else "0",
        }
        for line in lines
    ]
    return sha256(_json({**stated, "lines": listed}).encode()).digest()


def _plain(value: Any) -> str:
    """Return a number without the zeros at its end, which the database may add."""
    return format(value.normalize(), "f")


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
