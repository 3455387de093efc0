"""The tables of quotas: how much of a resource a tenant may hold at once, and what holds some of it."""

from django.db import models

from tenants.isolation.scoping import TenantModel


class Quota(TenantModel):
    """How much of a resource the tenant may hold at once; no limit when `limit` is empty."""

    resource = models.CharField(max_length=80)
    limit = models.BigIntegerField(null=True)
    in_use = models.BigIntegerField(default=0)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "resource"], name="quota_once"),
            models.CheckConstraint(condition=models.Q(in_use__gte=0), name="quota_use_not_negative"),
        ]


class QuotaReservation(TenantModel):
    """What one subject (such as `job:<id>`) reserves of a resource."""

    resource = models.CharField(max_length=80)
    subject = models.CharField(max_length=120)
    amount = models.BigIntegerField()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "subject", "resource"], name="quota_reservation_once"),
            models.CheckConstraint(condition=models.Q(amount__gt=0), name="quota_reservation_positive"),
        ]
