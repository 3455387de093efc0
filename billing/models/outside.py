"""Reported usage: senders, events that wait for review, and sender limits."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from billing.models.fields import exact
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel
from tenants.models import Project

WAITING, ACCEPTED, REJECTED = "waiting", "accepted", "rejected"
OLD, BEFORE_PRICES, UNPRICED = "old", "before_prices", "unpriced"
STATES = [WAITING, ACCEPTED, REJECTED]
REASONS = [OLD, BEFORE_PRICES, UNPRICED]


class UsageBatch(TenantModel):
    """One request that reported usage, and its sender. `accepted`, `held` and `voided` count its events.

    `person`: whose budgets pay for it, the sender or the member whose key it is.
    """

    sender_kind = models.CharField(max_length=10)
    sender_id = models.UUIDField(null=True)
    sender = models.CharField(max_length=254)
    person = models.UUIDField(null=True)
    received_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    accepted = models.PositiveIntegerField()
    held = models.PositiveIntegerField()
    voided = models.PositiveIntegerField(default=0)
    amount = exact()
    currency = models.CharField(max_length=3)

    class Meta(TenantModel.Meta):
        indexes: ClassVar = [models.Index(fields=["tenant", "-id"], name="usage_batch_newest")]

    def __str__(self) -> str:
        return f"usage from {self.sender}"


class HeldEvent(TenantModel):
    """An event that is not counted until a person accepts it. Its key is taken all the same: it counts at most once."""

    batch = TenantForeignKey(UsageBatch, on_delete=models.PROTECT, related_name="+", db_index=False)
    key_hash = models.BinaryField()
    source = models.CharField(max_length=120)
    key = models.CharField(max_length=200)
    meter = models.CharField(max_length=60)
    resource = models.CharField(max_length=200)
    project = TenantForeignKey(Project, on_delete=models.PROTECT, related_name="+", db_index=False)
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    quantity = exact(null=True)
    dims = models.JSONField(default=dict)
    reason = models.CharField(max_length=13)
    state = models.CharField(max_length=8, default=WAITING)
    received_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    decided_at = models.DateTimeField(null=True)
    decided_by_id = models.UUIDField(null=True)
    decided_by = models.CharField(max_length=254, blank=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "key_hash"], name="held_event_once"),
            models.CheckConstraint(condition=Q(state__in=STATES), name="held_event_state_known"),
            models.CheckConstraint(condition=Q(reason__in=REASONS), name="held_event_reason_known"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "id"], name="held_event_waiting", condition=Q(state=WAITING)),
            models.Index(fields=["tenant", "batch"], name="held_event_batch"),
        ]

    def __str__(self) -> str:
        return f"{self.key} of {self.source}"


class SenderDay(TenantModel):
    """What one key or person has reported on one UTC day; its row lock serialises the requests of a sender."""

    sender_id = models.UUIDField()
    day = models.DateField()
    events = models.BigIntegerField()
    amount = exact()

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "sender_id", "day"], name="sender_day_once")]


class ReportLimit(TenantModel):
    """How much each key or person may report on a UTC day, if an organisation has set it."""

    events = models.PositiveIntegerField()
    amount = exact()

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="report_limit_once"),
            models.CheckConstraint(condition=Q(amount__gte=0, amount__lt=10**15), name="report_limit_is_real"),
        ]

    def __str__(self) -> str:
        return "limit of reported usage"
