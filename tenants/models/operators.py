"""Tables that no tenant sees: each tenant's metrics for operators, and the operator log.

Their policies show rows only while `app.operator` is set, which `operator_scope` does after checking the person.
"""

from typing import ClassVar

from django.db import models

from tenants.clock import DatabaseNow
from tenants.ids import uuid7


class TenantDigest(models.Model):
    """Metrics of a tenant for operators, refreshed by a task of the control role; never its rows."""

    tenant = models.OneToOneField(
        "tenants.Tenant", on_delete=models.CASCADE, primary_key=True, related_name="+", editable=False
    )
    slug = models.CharField(max_length=50)
    name = models.CharField(max_length=120)
    currency = models.CharField(max_length=3)
    created_at = models.DateTimeField()
    members = models.PositiveIntegerField(default=0)
    running_jobs = models.PositiveIntegerField(default=0)
    queued_jobs = models.PositiveIntegerField(default=0)
    month_spend = models.DecimalField(max_digits=38, decimal_places=12, default=0)
    refreshed_at = models.DateTimeField(db_default=DatabaseNow())

    def __str__(self) -> str:
        return self.slug


class OperatorAct(models.Model):
    """One entry of the operator log. Immutable: the database refuses changes."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    operator = models.UUIDField()
    operator_label = models.CharField(max_length=254)
    action = models.CharField(max_length=80)
    target_type = models.CharField(max_length=40)
    target_id = models.CharField(max_length=64)
    target_label = models.CharField(max_length=254)
    reason = models.TextField()
    ip = models.CharField(max_length=45, blank=True)
    request_id = models.CharField(max_length=64, blank=True)

    class Meta:
        indexes: ClassVar = [models.Index(fields=["-id"], name="operator_act_newest")]

    def __str__(self) -> str:
        return self.action
