"""Unpaid invoices of all tenants that are past due, with the reminders that were sent, as the seller lists them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID

from django.db import connection

from billing.models.settling import FINAL_NOTICE, STOP
from billing.money import Money
from billing.pg_arrays import parsed_list
from tenants.rows import named_rows

ROWS = """
SELECT i.id, i.tenant_id, t.name, t.slug, i.label, i.currency, i.due_on, i.sent_at, d.days,
  i.total - i.credited - i.paid + i.returned AS due,
  coalesce((SELECT jsonb_agg(jsonb_build_array(r.days, r.step, r.sent) ORDER BY r.days)
    FROM billing_reminder r WHERE r.tenant_id = i.tenant_id AND r.invoice_id = i.id), '[]') AS steps,
  (SELECT s.until FROM billing_stopdeferral s WHERE s.tenant_id = i.tenant_id AND s.invoice_id = i.id ORDER BY s.id DESC LIMIT 1) AS deferred
FROM billing_invoice i JOIN tenants_tenant t ON t.id = i.tenant_id
CROSS JOIN LATERAL (SELECT (exchequer_now() AT TIME ZONE t.timezone)::date - i.due_on AS days) d
WHERE i.state = 'finalised' AND d.days > 0 AND (%(after_on)s::date IS NULL OR (i.due_on, i.id) > (%(after_on)s, %(after_id)s::uuid))
ORDER BY i.due_on, i.id LIMIT %(limit)s
"""


@dataclass(frozen=True, slots=True)
class ReminderView:
    """A step that an invoice reached; one that is not `sent` was passed over for a later one."""

    days: int
    step: str
    sent: bool

    @property
    def title(self) -> str:
        """What was done, as people read it."""
        return {FINAL_NOTICE: "Final notice", STOP: "Launches stopped"}.get(self.step, "Reminder")


@dataclass(frozen=True, slots=True)
class OverdueRow:
    """An unpaid invoice, `days` past its due day."""

    id: UUID
    tenant_id: UUID
    tenant_name: str
    tenant_slug: str
    number: str
    due: Money
    due_on: date
    days: int
    sent_at: datetime | None
    steps: Sequence[ReminderView]
    deferred_until: date | None


def overdue(*, after: tuple[date, UUID] | None = None, limit: int = 50) -> list[OverdueRow]:
    """Return the invoices past due, the longest overdue first; `after` is the (due day, id) of the previous page's last."""
    last_on, last_id = after or (None, None)
    with connection.cursor() as cursor:
        cursor.execute(ROWS, {"after_on": last_on, "after_id": last_id, "limit": limit})
        return [
            OverdueRow(
                id=row.id,
                tenant_id=row.tenant_id,
                tenant_name=row.name,
                tenant_slug=row.slug,
                number=row.label,
                due=Money(row.due, row.currency),
                due_on=row.due_on,
                days=row.days,
                sent_at=row.sent_at,
                steps=[ReminderView(*step) for step in parsed_list(row.steps)],
                deferred_until=row.deferred,
            )
            for row in named_rows(cursor)
        ]
