"""Budget alerts: each threshold is reported once in each period, to those who manage budgets."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from uuid import UUID

from billing import events
from billing.models import Budget, BudgetAlert
from billing.models.budgets import BLOCK_NEW, NOTIFY, STOP_RUNNING
from billing.money import Money
from billing.queries.budgets import currency_of_span, named_scope
from billing.rating.calendar import span_name
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.models import User
from tenants.notifications.notifications import notify
from tenants.rights import held

BUDGET_ALERTED = AuditAction("billing.budget.alerted")
DEFAULT_ALERTS = (50, 80, 100)
AFTERWARDS = {
    NOTIFY: "This budget only alerts; it stops nothing.",
    BLOCK_NEW: "At the limit, new work is refused; running work continues.",
    STOP_RUNNING: "At the limit, new work is refused and running work is paused.",
}


def handle_threshold(event: events.BudgetThresholdReached) -> None:
    """Record a crossed threshold and notify, once: the relay may deliver more than once."""
    actor = Actor.system(event.tenant_id, "billing")
    raise_alert(
        actor=actor,
        budget_id=event.budget_id,
        period=date.fromisoformat(event.period),
        percent=event.percent,
        spent=event.spent,
        limit=event.limit,
        quiet=event.quiet,
    )


@operation(BUDGET_ALERTED)
def raise_alert(
    *, actor: Actor, budget_id: UUID, period: date, percent: int, spent: Decimal, limit: Decimal, quiet: bool = False
) -> None:
    """Store that a threshold was crossed and notify. No-op if it is stored already or the budget is closed.

    A `quiet` one is only stored, because the same charge crossed a higher one, which is reported. So is one below a
    reported one.
    """
    budget = Budget.objects.select_related("project").filter(pk=budget_id, closed_at__isnull=True).first()
    if budget is None:
        unchanged("the budget was closed meanwhile")
        return
    values = {"spent": spent, "limit": limit}
    _, fresh = BudgetAlert.objects.get_or_create(budget=budget, period=period, percent=percent, defaults=values)
    if not fresh:
        unchanged("this threshold was already reported in this period")
        return
    changes = {"percent": [None, percent], "period": [None, period.isoformat()]}
    record(BUDGET_ALERTED, actor=actor, target=budget, changes=changes)
    if quiet or BudgetAlert.objects.filter(budget=budget, period=period, percent__gt=percent).exists():
        return
    address = User.objects.filter(id=budget.person).values_list("email", flat=True).first() if budget.person else None
    scope = named_scope(budget, {budget.person: address} if budget.person and address else {}) or "the organisation"
    currency = currency_of_span(period, budget.period)
    used = f"{Money(spent, currency).plain()} of {Money(limit, currency).plain()}"
    notify(
        permission="budgets.manage",
        kind="budget",
        title=f"Budget of {scope}: {percent} % spent",
        body=f"{used} is spent in {span_name(period, budget.period)}. {AFTERWARDS[budget.at_limit]}",
        path=f"budgets/{budget_id}/",
        only=held.naming(budget.project_id),
    )
