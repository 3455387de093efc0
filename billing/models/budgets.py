"""Budgets and their counters, which move only by a conditional UPDATE under a CHECK."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q

from billing.models.fields import exact
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel
from tenants.models import Project

NOTIFY, BLOCK_NEW, STOP_RUNNING = "notify", "block_new", "stop_running"
AT_LIMIT = [NOTIFY, BLOCK_NEW, STOP_RUNNING]
LENGTHS = [("month", "Month"), ("quarter", "Quarter"), ("year", "Year")]
ONE_SCOPE = (
    Q(project__isnull=True, person__isnull=True)
    | Q(tag_key="", person__isnull=True)
    | Q(project__isnull=True, tag_key="")
)


class Budget(TenantModel):
    """How much a project, a tag of usage, a person, or else the whole tenant may spend in each of its periods.

    Periods are local calendar months, quarters or years. A person is the user whose work, or whose keys' work, it pays.
    """

    project = TenantForeignKey(Project, on_delete=models.PROTECT, related_name="+", null=True)
    tag_key = models.CharField(max_length=60, blank=True, default="", db_default="")
    tag_value = models.CharField(max_length=200, blank=True, default="", db_default="")
    person = models.UUIDField(null=True)
    amount = exact()
    currency = models.CharField(max_length=3)
    period = models.CharField(max_length=7, choices=LENGTHS, default="month")
    alerts = ArrayField(models.PositiveSmallIntegerField(), default=list)
    at_limit = models.CharField(max_length=12, choices=[(mode, mode) for mode in AT_LIMIT])
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    closed_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "project", "tag_key", "tag_value", "person", "period", "currency"],
                condition=Q(closed_at__isnull=True),
                nulls_distinct=False,
                name="budget_once_per_scope",
            ),
            models.CheckConstraint(condition=Q(amount__gte=0, amount__lt=10**15), name="budget_is_real"),
            models.CheckConstraint(condition=Q(at_limit__in=AT_LIMIT), name="budget_at_limit_known"),
            models.CheckConstraint(condition=ONE_SCOPE, name="budget_has_one_scope"),
            models.CheckConstraint(condition=Q(period__in=[name for name, _ in LENGTHS]), name="budget_period_known"),
        ]

    def __str__(self) -> str:
        if self.tag_key:
            return f"budget of the tag {self.tag_key}={self.tag_value}"
        if self.person:
            return "budget of a person"
        return f"budget of {self.project.name if self.project else 'the whole organisation'}"


class BudgetPeriod(TenantModel):
    """The counters of one budget in one of its periods, named by its first day, in the currency of that period.

    `held` is reserved for running work, `spent` settled from holds, `unheld` measured without one. `ceiling` is empty
    if the budget only notifies; otherwise held + spent never pass it. It equals the limit, except after the limit was
    lowered below held + spent: then it is that sum, until it shrinks.
    """

    budget = TenantForeignKey(Budget, on_delete=models.PROTECT, related_name="periods")
    period = models.DateField()
    currency = models.CharField(max_length=3)
    limit = exact()
    at_limit = models.CharField(max_length=12)
    ceiling = exact(null=True)
    held = exact(default=0)
    spent = exact(default=0)
    unheld = exact(default=0)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "budget", "period"], name="budget_period_once"),
            models.CheckConstraint(
                condition=Q(held__gte=0, spent__gte=0, unheld__gte=0), name="budget_counters_not_negative"
            ),
            models.CheckConstraint(
                condition=Q(ceiling__isnull=True) | Q(ceiling__gte=F("held") + F("spent")),
                name="budget_never_overspent",
            ),
        ]
