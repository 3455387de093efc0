"""The sweep of holds for outside work whose time is over (control role)."""

from __future__ import annotations

from django.db import connection

from billing.reported.holds.asking import expire
from tenants.access.actor import Actor
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import sweep

MOST = 1_000
OVER = (
    "SELECT tenant_id, id FROM billing_hold WHERE state = 'open' AND expires_at <= exchequer_now() ORDER BY expires_at"
)


def expire_all() -> int:
    """End up to `MOST` holds of all tenants that are over, one transaction each; return how many.

    A failure of one stops no other, and is raised at the end (SweepFailed).
    """
    with connection.cursor() as cursor:
        cursor.execute(OVER)
        over = cursor.fetchall()
    ended = 0
    with sweep("holds for outside work") as each:
        for tenant_id, hold_id in each.over(over, MOST):
            with each(tenant=tenant_id, hold=hold_id), tenant_scope(tenant_id):
                ended += expire(actor=Actor.system(tenant_id, "billing"), hold_id=hold_id)
    return ended
