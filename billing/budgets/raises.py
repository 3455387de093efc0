"""Raise a budget for the running period only; the next one has the budget's own amount again."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from django.db.models import F, Value
from django.db.models.functions import Greatest

from billing.budgets import counters
from billing.budgets.budgets import LARGEST, NothingToRaise, open_budget
from billing.models import BudgetPeriod
from billing.models.budgets import NOTIFY
from billing.models.fields import exact
from billing.money import Money
from billing.queries.calendar import tenant_today
from billing.rating.calendar import span_start
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.errors import Invalid

BUDGET_RAISED = AuditAction("billing.budget.raised")


@operation(BUDGET_RAISED)
def raise_this_month(*, actor: Actor, budget_id: UUID, amount: Decimal) -> None:
    """Raise a budget's limit in its running month, quarter or year. Raises NotFound, Invalid, NothingToRaise."""
    actor.require_somewhere("budgets.manage")
    counters.lock_budget_set(exclusive=True)
    budget = open_budget(actor, budget_id)
    actor.require("budgets.manage", budget)
    month = tenant_today().period
    projects = [budget.project_id] if budget.project_id else []
    tags = [f"{budget.tag_key}={budget.tag_value}"] if budget.tag_key else []
    work = counters.Work(projects, tags, [budget.person] if budget.person else [])
    counters.lock_scope(work, [month])  # creates the counter of the period where there is none
    period = span_start(month, budget.period)
    counter = BudgetPeriod.objects.get(budget=budget, period=period)
    if not 0 <= amount < LARGEST:
        raise Invalid(fields={"amount": ["Use an amount below 1,000,000,000,000,000."]})
    if amount <= counter.limit:
        raise NothingToRaise
    ceiling = Greatest(Value(amount, output_field=exact()), F("held") + F("spent"), output_field=exact())
    changes = {"limit": amount, "ceiling": None if counter.at_limit == NOTIFY else ceiling}
    BudgetPeriod.objects.filter(id=counter.id).update(**changes)
    before, after = (Money(one, counter.currency).json() for one in (counter.limit, amount))
    record(BUDGET_RAISED, actor=actor, target=budget, changes={"amount": [before, after], "month": [None, str(period)]})
