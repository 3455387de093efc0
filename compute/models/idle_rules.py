"""The tables of idle rules: operators' by class of device, and an organisation's own."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantModel

FIGURES = (
    Q(window_minutes__gte=1, window_minutes__lte=1440)
    & Q(busy_percent__gte=1, busy_percent__lte=50)
    & Q(grace_minutes__gte=1, grace_minutes__lte=1440)
)


class PoolIdleRule(models.Model):
    """The idle rule of a class of device, for organisations without one of their own; that of the empty class is for all others."""

    device_class = models.CharField(max_length=80, primary_key=True)
    window_minutes = models.PositiveSmallIntegerField()
    busy_percent = models.PositiveSmallIntegerField()
    grace_minutes = models.PositiveSmallIntegerField()
    set_by = models.CharField(max_length=254)
    set_at = models.DateTimeField(db_default=DatabaseNow())

    class Meta:
        constraints: ClassVar = [models.CheckConstraint(condition=FIGURES, name="compute_pool_idle_rule")]

    def __str__(self) -> str:
        return f"idle rule of {self.device_class or 'all classes'}"


class OwnIdleRule(TenantModel):
    """An organisation's own idle rule, for all its work."""

    window_minutes = models.PositiveSmallIntegerField()
    busy_percent = models.PositiveSmallIntegerField()
    grace_minutes = models.PositiveSmallIntegerField()

    class Meta(TenantModel.Meta):
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["tenant"], name="compute_own_idle_rule_once"),
            models.CheckConstraint(condition=FIGURES, name="compute_own_idle_rule"),
        ]

    def __str__(self) -> str:
        return "own idle rule"
