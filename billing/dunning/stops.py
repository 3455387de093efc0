"""Whether an overdue invoice stops new launches and deploys of the open scope's tenant. What runs is not asked."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from django.db import connection

from tenants.errors import ExchequerError
from tenants.isolation.scoping import current_tenant_id
from tenants.rows import named_rows

# A top-up that is not paid is no debt: nothing was used, unless a bank took its payment back. The reminder shows that the tenant was notified, the schedule as it stands now how long the seller waits.
STOPPING = """
SELECT i.id, i.label, i.due_on FROM billing_reminder r
JOIN billing_invoice i ON i.tenant_id = r.tenant_id AND i.id = r.invoice_id AND i.state = 'finalised'
JOIN tenants_tenant t ON t.id = r.tenant_id
CROSS JOIN LATERAL (SELECT (exchequer_now() AT TIME ZONE t.timezone)::date AS today) n
LEFT JOIN LATERAL (
  SELECT d.until FROM billing_stopdeferral d WHERE d.tenant_id = r.tenant_id AND d.invoice_id = i.id ORDER BY d.id DESC LIMIT 1
) d ON true
WHERE r.tenant_id = %s AND r.step = 'stop' AND (i.kind = 'period' OR EXISTS (
  SELECT FROM billing_payment p WHERE p.tenant_id = i.tenant_id AND p.invoice_id = i.id AND p.method = 'dispute'
  HAVING sum(CASE p.kind WHEN 'refund' THEN p.amount ELSE -p.amount END) > 0)) AND (d.until IS NULL OR d.until < n.today) AND EXISTS (
  SELECT FROM billing_seller s CROSS JOIN LATERAL jsonb_array_elements(s.dunning) one
  WHERE one ->> 'step' = 'stop' AND (one ->> 'days')::int <= n.today - i.due_on)
ORDER BY i.due_on, i.id LIMIT 1
"""


class LaunchesStopped(ExchequerError):
    """An invoice is overdue. New launches and deploys wait for its payment."""

    code = "launches_stopped"
    status = 402


@dataclass(frozen=True, slots=True)
class Stop:
    """The overdue invoice that stops launches, the one due first of several."""

    invoice_id: UUID
    number: str
    due_on: date

    @property
    def sentence(self) -> str:
        """Why nothing new starts, and what helps."""
        return (
            f"Invoice {self.number} was due on {self.due_on.day} {self.due_on:%B %Y} and is not paid. Nothing new is launched or "
            "deployed until it is; what runs goes on. Ask finance or an admin to pay it."
        )


def stop_in_force() -> Stop | None:
    """Return what stops launches of the open scope's tenant; None if nothing does."""
    with connection.cursor() as cursor:
        cursor.execute(STOPPING, [current_tenant_id()])
        return next((Stop(row.id, row.label, row.due_on) for row in named_rows(cursor)), None)


def require_launches() -> None:
    """Raise LaunchesStopped (402) while an overdue invoice stops new work of the open scope's tenant."""
    stop = stop_in_force()
    if stop is not None:
        raise LaunchesStopped(stop.sentence, invoice=str(stop.invoice_id), number=stop.number, due_on=str(stop.due_on))
