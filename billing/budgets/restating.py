"""When a tenant's currency changes, its budgets are restated by the rate that the contract names.

The periods of budgets have the right currency and limit from the first second of the month, whatever reads them first
(`counters.ENSURE`). What is done here says so: each budget is stated in the new currency from then on, audited and notified.
"""

from __future__ import annotations

from decimal import Decimal

from django.db import connection

from billing.budgets import counters
from billing.models import Budget
from billing.money import Money
from billing.queries.calendar import Today, tenant_today
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.isolation.scoping import current_tenant_id, tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import Tenant
from tenants.notifications.notifications import notify

BUDGET_RESTATED = AuditAction("billing.budget.restated")
CURRENCY_CHANGED = AuditAction("billing.currency.changed", while_closing=True)
MOST = 500
DUE = """
SELECT id FROM (
  SELECT DISTINCT ON (t.id) t.id, t.currency, c.currency AS paid_in FROM billing_changes_of_currency() c JOIN tenants_tenant t ON t.id = c.tenant_id
  WHERE c.starts_on <= (exchequer_now() AT TIME ZONE t.timezone)::date ORDER BY t.id, c.starts_on DESC
) begun WHERE currency <> paid_in ORDER BY 1 LIMIT %s
"""
RESTATED = "SELECT billing_restated(%s, %s, %s, %s)"


def change_all() -> int:
    """Carry out the changes of currency that have begun, one transaction for each tenant (control role); return how many.

    A failure of one tenant stops no other, and is raised at the end (SweepFailed).
    """
    with connection.cursor() as cursor:
        cursor.execute(DUE, [MOST])
        due = [tenant_id for (tenant_id,) in cursor.fetchall()]
    with sweep("changes of currency") as each:
        for tenant_id in each.over(due):
            with each(tenant=tenant_id), tenant_scope(tenant_id):
                change(actor=Actor.system(tenant_id, "billing"))
    return len(due)


@operation(CURRENCY_CHANGED)
def change(*, actor: Actor) -> None:
    """State the open budgets in the currency of the running month, and notify who manages them. Idempotent."""
    counters.lock_budget_set(exclusive=True)
    tenant, at = Tenant.objects.select_for_update(no_key=True).get(pk=actor.tenant_id), tenant_today()
    if tenant.currency == at.currency:
        unchanged("it was carried out before")
        return
    budgets = list(Budget.objects.select_for_update(no_key=True, of=("self",)).filter(closed_at=None).order_by("pk"))
    restated = [budget for budget in budgets if restate(budget, at)]
    for budget in restated:
        budget.save(update_fields=["amount", "currency"])
    Tenant.objects.filter(pk=tenant.pk).update(currency=at.currency)
    changes = {"currency": [tenant.currency, at.currency], "budgets": [None, len(restated)]}
    record(CURRENCY_CHANGED, actor=actor, target=("tenant", tenant.pk, tenant.slug), changes=changes)
    notify(
        permission="budgets.manage",
        kind="budget",
        title=f"{tenant.name} now pays in {at.currency}",
        body=f"Budgets were in {tenant.currency}. Check what each now limits: {len(restated)} are restated by the contract’s rate.",
        path="budgets/",
    )


def restate(budget: Budget, at: Today) -> bool:
    """State an open, locked budget in today's currency and record it; return False if it is. The caller saves it."""
    if budget.currency == at.currency:
        return False
    before = Money(budget.amount, budget.currency)
    with connection.cursor() as cursor:
        cursor.execute(RESTATED, [current_tenant_id(), before.amount, before.currency, at.currency])
        budget.amount = Decimal(cursor.fetchone()[0])
    budget.currency = at.currency
    changes = {"amount": [before.json(), Money(budget.amount, budget.currency).json()]}
    record(BUDGET_RESTATED, actor=Actor.system(current_tenant_id(), "billing"), target=budget, changes=changes)
    return True
