"""Crossed thresholds of budgets: each once a month."""

from __future__ import annotations

from typing import ClassVar

from django.db import models

from billing.models.budgets import Budget
from billing.models.fields import exact
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel


class BudgetAlert(TenantModel):
    """Spending crossed `percent` of a budget in a local month.

    Inserting the row decides who notifies, so that it happens once.
    """

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
