"""Unusual spending of the day before: those who manage budgets are notified, once a day at most (control role)."""

from __future__ import annotations

from billing import queries
from billing.budgets.outlook import UnusualDay, unusual_yesterday
from billing.queries.budgets import BudgetStatus
from tenants.isolation.locks import alone
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import Notification, Tenant
from tenants.notifications.notifications import notify
from tenants.rights import held

KIND = "anomaly"


def notify_all() -> int:
    """Notify of what stood out in each tenant; return in how many. Of two workers one does it.

    A failure of one tenant stops no other, and is raised at the end (SweepFailed).
    """
    told = 0
    with alone("billing.unusual") as mine, sweep("unusual spend") as each:
        for tenant_id in each.over(Tenant.objects.order_by("id").values_list("id", flat=True) if mine else ()):
            with each(tenant=tenant_id), tenant_scope(tenant_id):
                told += _notify()
    return told


def _notify() -> bool:
    """Notify of the budget that stood out most, unless the tenant was notified of that day; return whether it was now."""
    found = [(status, day) for status in queries.budgets() if (day := unusual_yesterday(status)) is not None]
    if not found:
        return False
    status, unusual = max(found, key=lambda one: one[1].cost.amount - one[1].expected.amount)
    mark = f"?day={unusual.day}"
    if Notification.objects.filter(kind=KIND, path__endswith=mark).exists():
        return False
    notify(
        permission="budgets.manage",
        kind=KIND,
        title=f"Unusual spend of {status.project_name or 'the organisation'}",
        body=_body(status, unusual),
        path=f"budgets/{status.id}/{mark}",
        only=held.naming(status.project_id),
    )
    return True


def _body(status: BudgetStatus, unusual: UnusualDay) -> str:
    cost, expected = unusual.cost.plain(), unusual.expected.plain()
    said = f"{cost} on {unusual.day:%-d %B %Y}, where {expected} was expected of this weekday."
    jobs = ", ".join(f"{job.name or job.id} ({job.cost.plain()})" for job in unusual.jobs)
    return f"{said} The costliest jobs of the day: {jobs}." if jobs else said
