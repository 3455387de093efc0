"""Invoices. A draft has no stored lines: they are read from the roll-ups."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantModel

DRAFT, IN_REVIEW, FINALISED, PAID, VOID = "draft", "in_review", "finalised", "paid", "void"
STATES = [DRAFT, IN_REVIEW, FINALISED, PAID, VOID]


class Invoice(TenantModel):
    """The bill of one tenant, one local month, one currency."""

    period = models.DateField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    currency = models.CharField(max_length=3)
    state = models.CharField(
        max_length=9, choices=[(state, state) for state in STATES], default=DRAFT, db_default=DRAFT
    )
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "period", "currency"], condition=~Q(state=VOID), name="invoice_once_per_period"
            ),
            models.CheckConstraint(condition=Q(state__in=STATES), name="invoice_state_known"),
        ]

    def __str__(self) -> str:
        return f"{self.state} of {self.period:%Y-%m}"
