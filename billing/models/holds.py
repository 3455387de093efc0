"""Holds, and the quotes that fix their price."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from billing.models.budgets import BudgetPeriod
from billing.models.fields import exact
from billing.models.pricing import Price
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel
from tenants.models import Project

OPEN, RELEASED = "open", "released"


class Hold(TenantModel):
    """The most that a subject (such as `job:<id>`) may cost; usage is settled from it.

    It lies on the budgets of its project, tags and person. With `expires_at` it is for outside work, sized by `quantity`
    of `meter`, and ends by itself.
    """

    subject = models.CharField(max_length=120)
    project = TenantForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    period = models.DateField()
    currency = models.CharField(max_length=3)
    tags = models.JSONField(default=dict, db_default={})
    person = models.UUIDField(null=True)
    amount = exact()
    settled = exact(default=0)
    state = models.CharField(max_length=8, default=OPEN)
    placed_by_id = models.UUIDField(null=True)
    placed_by = models.CharField(max_length=254, blank=True)
    placed_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    released_at = models.DateTimeField(null=True)
    meter = models.CharField(max_length=60, blank=True, default="", db_default="")
    quantity = exact(null=True)
    dims = models.JSONField(default=dict, db_default={})
    expires_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "subject"], condition=Q(state=OPEN), name="hold_once_per_subject"
            ),
            models.CheckConstraint(
                condition=Q(settled__gte=0, settled__lte=F("amount")), name="hold_covers_what_is_settled"
            ),
            models.CheckConstraint(condition=Q(state__in=[OPEN, RELEASED]), name="hold_state_known"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["expires_at"], name="hold_expiry", condition=Q(state=OPEN, expires_at__isnull=False)),
            models.Index(fields=["tenant", "-id"], name="hold_outside", condition=Q(expires_at__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"hold for {self.subject}"


class HoldShare(TenantModel):
    """A hold lies in full on each counter it names: those of its project's and its tenant's budgets."""

    hold = TenantForeignKey(Hold, on_delete=models.PROTECT, related_name="shares")
    counter = TenantForeignKey(BudgetPeriod, on_delete=models.PROTECT, related_name="shares")

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "hold", "counter"], name="hold_share_once")]


class Quote(TenantModel):
    """A binding unit price for one launch, until it expires or is used.

    Nine bills of ten lie between `least` and `most`. `limit_s` is the longest run time priced, and `forecast` the
    caller's estimate of the time; both are passed to the launch unchanged.
    """

    project = TenantForeignKey(Project, on_delete=models.PROTECT, related_name="+")
    price = models.ForeignKey(Price, on_delete=models.PROTECT, related_name="+")
    body_hash = models.BinaryField()
    body = models.JSONField()
    unit_amount = exact()
    currency = models.CharField(max_length=3)
    typical = exact()
    worst = exact()
    least = exact(null=True)
    most = exact(null=True)
    limit_s = models.PositiveIntegerField(null=True)
    forecast = models.JSONField(default=dict, db_default={})
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    expires_at = models.DateTimeField()
    taken_at = models.DateTimeField(null=True)
