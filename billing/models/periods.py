"""Billing periods: the months of a tenant that are closed take no more usage."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantModel

OPEN, CLOSED = "open", "closed"


class BillingPeriod(TenantModel):
    """A tenant-local month with usage. Closing one closes all before it; later usage of theirs is a correction.

    A trigger refuses usage for a closed month, and to open it again.
    """

    period = models.DateField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    state = models.CharField(max_length=6, choices=[(OPEN, "Open"), (CLOSED, "Closed")], default=OPEN, db_default=OPEN)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    closed_at = models.DateTimeField(null=True)
    closed_by = models.CharField(max_length=254, blank=True, default="", db_default="")

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "period"], name="billing_period_once"),
            models.CheckConstraint(
                condition=Q(period__day=1, ends_at__gt=models.F("starts_at")), name="billing_period_is_a_month"
            ),
            models.CheckConstraint(
                condition=Q(state=OPEN, closed_at__isnull=True) | Q(state=CLOSED, closed_at__isnull=False),
                name="billing_period_state_known",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.period:%Y-%m}, {self.state}"
