"""The prepared drafts of a month, as the seller lists them, and how far its run is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.models import PeriodRun
from billing.money import Money
from billing.pg_arrays import parsed_list
from billing.rating.flags import per_cent
from tenants.rows import named_rows

# A run may have seen an invoice that is void by now: the one in its place is shown.
ROWS = """
SELECT d.tenant_id, t.slug, t.name, i.id AS invoice_id, i.state, s.status, i.label, d.currency, d.subtotal, d.tax, d.total, d.last_total,
  d.flags, d.severity, d.prepared_at, r.checked_at, r.faults,
  (SELECT count(*) FROM billing_dispute x WHERE x.tenant_id = d.tenant_id AND x.invoice_id = i.id AND x.state = 'open') AS disputes,
  (SELECT i.ends_at + c.grace_days * interval '1 day' FROM billing_contract c WHERE c.tenant_id = d.tenant_id AND c.grace_days > 0
    AND c.starts_on <= d.period AND (c.ends_on IS NULL OR c.ends_on > d.period) AND i.state IN ('draft', 'in_review')) AS grace_ends
FROM billing_prepareddraft d JOIN tenants_tenant t ON t.id = d.tenant_id
LEFT JOIN LATERAL (
  SELECT * FROM billing_invoice o WHERE o.tenant_id = d.tenant_id AND o.kind = 'period' AND o.period = d.period AND o.currency = d.currency
    AND d.invoice_id IS NOT NULL
  ORDER BY o.state = 'void', o.id DESC LIMIT 1) i ON true
CROSS JOIN LATERAL (SELECT CASE WHEN i.state <> 'finalised' THEN i.state
  WHEN i.due_on < (exchequer_now() AT TIME ZONE t.timezone)::date THEN 'past_due' ELSE 'open' END AS status) s
LEFT JOIN billing_reconciliation r ON r.tenant_id = d.tenant_id
WHERE d.period = %(period)s AND (%(after_severity)s::int IS NULL
  OR (-d.severity, t.slug, d.currency) > (-%(after_severity)s::int, %(after_slug)s::text, %(after_currency)s::text))
ORDER BY -d.severity, t.slug, d.currency LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class PreparedRow:
    """A tenant's month as the last run found it. `change` is the difference to the last month in per cent.

    `disputes` are open now; late usage is awaited until `grace_ends`. Without an invoice `state` is "none". `reconciled` is None if the tenant never was.
    `status` is the state for a person: an unpaid invoice is open, then past due.
    """

    tenant_id: UUID
    tenant_slug: str
    tenant_name: str
    invoice_id: UUID | None
    state: str
    status: str
    number: str
    currency: str
    subtotal: Money
    tax: Money
    total: Money
    last_total: Money | None
    change: Decimal | None
    reconciled: bool | None
    faults: Sequence[str]
    flags: Sequence[Mapping[str, str | None]]
    severity: int
    prepared_at: datetime
    disputes: int
    grace_ends: datetime | None

    @property
    def change_text(self) -> str:
        """The change in whole per cent with its sign; empty if there was nothing before."""
        if self.change is None:
            return ""
        whole = int(self.change.to_integral_value())
        return f"{whole:+,}\u00a0%".replace("-", "\u2212") if whole else "0\u00a0%"


def newest_run(period: date) -> PeriodRun | None:
    """Return the run of a month that was ordered last."""
    return PeriodRun.objects.filter(period=period).order_by("-id").first()


def prepared(period: date, *, after: tuple[int, str, str] | None = None, limit: int = 50) -> list[PreparedRow]:
    """Return the prepared drafts of a month, the worst flags first, then by slug.

    `after` is the (severity, slug, currency) of the previous page's last.
    """
    last_severity, last_slug, last_currency = after or (None, None, None)
    asked = {
        "period": period,
        "after_severity": last_severity,
        "after_slug": last_slug,
        "after_currency": last_currency,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(ROWS, asked)
        return [_row(row) for row in named_rows(cursor)]


def _row(row: Any) -> PreparedRow:
    faults = parsed_list(row.faults)
    return PreparedRow(
        tenant_id=row.tenant_id,
        tenant_slug=row.slug,
        tenant_name=row.name,
        invoice_id=row.invoice_id,
        state=row.state or "none",
        status=row.status,
        number=row.label or "",
        currency=row.currency,
        subtotal=Money(row.subtotal, row.currency),
        tax=Money(row.tax, row.currency),
        total=Money(row.total, row.currency),
        last_total=None if row.last_total is None else Money(row.last_total, row.currency),
        change=per_cent(row.total, row.last_total),
        reconciled=None if row.checked_at is None else not faults,
        faults=faults,
        flags=parsed_list(row.flags),
        severity=row.severity,
        prepared_at=row.prepared_at,
        disputes=row.disputes,
        grace_ends=row.grace_ends,
    )
