"""Which thresholds of which budgets were passed, and when: each once a month."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from billing.models.budgets import Budget
from billing.models.fields import exact
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel


class BudgetAlert(TenantModel):
    """Spending passed `percent` of a budget in a local month. Its insert decides who is told: nobody is told twice."""

    budget = TenantForeignKey(Budget, on_delete=models.PROTECT, related_name="+")
    period = models.DateField()
    percent = models.PositiveSmallIntegerField()
    spent = exact()
    limit = exact()
    raised_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "budget", "period", "percent"], name="budget_alert_once"),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "-id"], name="budget_alert_newest")]

    def __str__(self) -> str:
        return f"{self.percent} % of {self.budget_id}"
