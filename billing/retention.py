"""Retention: quotes 30 days, released holds 400 days, a sender's daily sums 90 days.

Usage, ledger and invoices stay. An invoice line older than its hold is explained by its job and attempt.
"""

from __future__ import annotations

from uuid import UUID

from django.db import connection

from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import Tenant

BATCH = 5_000
QUOTES = """
DELETE FROM billing_quote WHERE tenant_id = %(tenant)s AND id IN (
    SELECT id FROM billing_quote
    WHERE tenant_id = %(tenant)s AND created_at < exchequer_now() - interval '30 days' LIMIT %(batch)s)
"""
DAYS = """
DELETE FROM billing_senderday WHERE tenant_id = %(tenant)s AND id IN (
    SELECT id FROM billing_senderday
    WHERE tenant_id = %(tenant)s AND day < (exchequer_now() - interval '90 days')::date LIMIT %(batch)s)
"""
HOLDS = """
WITH old AS (
    SELECT id FROM billing_hold
    WHERE tenant_id = %(tenant)s AND state = 'released' AND released_at < exchequer_now() - interval '400 days'
    LIMIT %(batch)s
), shares AS (DELETE FROM billing_holdshare WHERE tenant_id = %(tenant)s AND hold_id IN (SELECT id FROM old))
DELETE FROM billing_hold WHERE tenant_id = %(tenant)s AND id IN (SELECT id FROM old)
"""


def purge_expired() -> dict[str, int]:
    """Remove expired rows of every tenant, in transactions of bounded size; return how many.

    A failure of one tenant stops no other, and is raised at the end (SweepFailed).
    """
    statements = {"quotes": QUOTES, "holds": HOLDS, "days of senders": DAYS}
    gone = dict.fromkeys(statements, 0)
    with sweep("expired rows of billing") as each:
        for tenant_id in each.over(Tenant.objects.order_by("id").values_list("id", flat=True)):
            for kind, statement in statements.items():
                with each(tenant=tenant_id, rows=kind):
                    gone[kind] += _purge(tenant_id, statement)
    return gone


def _purge(tenant_id: UUID, statement: str) -> int:
    gone, rows = 0, BATCH
    while rows == BATCH:
        with tenant_scope(tenant_id), connection.cursor() as cursor:
            cursor.execute(statement, {"tenant": tenant_id, "batch": BATCH})
            rows = cursor.rowcount
        gone += rows
    return gone
