"""What operators order of all tenants: reconciliations, and runs of a month; and the drafts that a run prepares."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from billing.models.fields import exact
from billing.models.invoicing import Invoice
from tenants.clock import DatabaseNow
from tenants.ids import uuid7
from tenants.isolation.scoping import TenantForeignKey, TenantModel


class ReconciliationOrder(models.Model):
    """An order to reconcile one tenant, or all: `about` is null. The ops worker carries it out."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    about = models.UUIDField(null=True)
    ordered_by = models.CharField(max_length=254)
    ordered_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["about"],
                condition=Q(finished_at=None),
                nulls_distinct=False,
                name="reconciliation_order_waits_once",
            )
        ]

    def __str__(self) -> str:
        return f"reconciliation of {self.about or 'all'}"


class PeriodRun(models.Model):
    """A run of a month: the ops worker prepares the draft of one tenant after another, in the order of their ids.

    `last_tenant` is the last one that is done, so a run that was stopped continues after it.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    period = models.DateField()
    ordered_by = models.CharField(max_length=254)
    ordered_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    tenants = models.PositiveIntegerField(default=0, db_default=0)
    done = models.PositiveIntegerField(default=0, db_default=0)
    failed = models.PositiveIntegerField(default=0, db_default=0)
    last_tenant = models.UUIDField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["period"], condition=Q(finished_at=None), name="period_run_goes_on_once"),
            models.CheckConstraint(condition=Q(period__day=1), name="period_run_is_of_a_month"),
        ]
        indexes: ClassVar = [models.Index(fields=["period", "-id"], name="period_run_newest")]

    def __str__(self) -> str:
        return f"run of {self.period:%Y-%m}"


class PreparedDraft(TenantModel):
    """What a run found of a tenant's month: the invoice with its sums, those of the month before, and flags.

    `invoice` is null if the month has none though the month before was billed; `last_total` is null if that was not.
    `severity` sorts the worst flags first.
    """

    period = models.DateField()
    invoice = TenantForeignKey(Invoice, on_delete=models.PROTECT, related_name="+", null=True, db_index=False)
    currency = models.CharField(max_length=3)
    subtotal = exact()
    tax = exact()
    total = exact()
    last_total = exact(null=True)
    flags = models.JSONField(default=list, db_default=[])
    severity = models.PositiveSmallIntegerField(default=0, db_default=0)
    prepared_at = models.DateTimeField(db_default=DatabaseNow())

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "period", "currency"], name="prepared_draft_once"),
            models.CheckConstraint(condition=Q(period__day=1), name="prepared_draft_is_of_a_month"),
        ]
        indexes: ClassVar = [models.Index(fields=["period", "-severity"], name="prepared_draft_worst")]

    def __str__(self) -> str:
        return f"draft of {self.period:%Y-%m}"
