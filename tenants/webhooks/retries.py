"""The sweep: wakes the deliveries whose next attempt is due, webhooks in turn; and the end of old ones."""

from __future__ import annotations

from uuid import UUID

from django.db import connection, transaction

from tenants.clock import DatabaseNow
from tenants.events import events
from tenants.isolation.scoping import all_tenants
from tenants.models import WebhookDelivery
from tenants.webhooks.publishing import WOKEN_FOR

AT_ONCE, OF_ONE = 1_000, 50
KEPT_DAYS = 30
REMOVED_AT_ONCE = 5_000
#: Webhooks in turn: the first due delivery of each, then the second of each. One that is left alone has none.
DUE = """
SELECT d.id, d.tenant_id, d.attempts FROM (
  SELECT d.id, d.tenant_id, d.attempts, d.next_at, row_number() OVER (PARTITION BY d.webhook_id ORDER BY d.next_at) AS turn
  FROM tenants_webhookdelivery d JOIN tenants_webhook w ON w.id = d.webhook_id
  WHERE d.state = 'pending' AND d.next_at <= exchequer_now() AND (w.retry_at IS NULL OR w.retry_at <= exchequer_now())
) d WHERE d.turn <= %s ORDER BY d.turn, d.next_at LIMIT %s
"""
REMOVE = """
DELETE FROM tenants_webhookdelivery WHERE id IN (
  SELECT id FROM tenants_webhookdelivery WHERE created_at < exchequer_now() - make_interval(days => %s) AND state <> 'pending'
  ORDER BY created_at LIMIT %s)
"""


def wake_due() -> int:
    """Wake what is due (control role); return how many deliveries. Two sweeps at once may wake one twice: it is attempted once."""
    with transaction.atomic(), all_tenants("the sweep serves every tenant"):
        with connection.cursor() as cursor:
            cursor.execute(DUE, [OF_ONE, AT_ONCE])
            rows: list[tuple[UUID, UUID, int]] = cursor.fetchall()
        if not rows:
            return 0
        ids = [row[0] for row in rows]
        WebhookDelivery.objects.filter(id__in=ids).update(next_at=DatabaseNow() + WOKEN_FOR)
        due = [
            events.WebhookDue(tenant_id=tenant_id, delivery_id=row_id, attempt=attempts)
            for row_id, tenant_id, attempts in rows
        ]
        events.publish_all(due)
    return len(rows)


def remove_old() -> int:
    """Remove ended deliveries after 30 days (control role), in parts; return how many."""
    removed = 0
    while True:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(REMOVE, [KEPT_DAYS, REMOVED_AT_ONCE])
            count = int(cursor.rowcount)
        removed += count
        if count < REMOVED_AT_ONCE:
            return removed
