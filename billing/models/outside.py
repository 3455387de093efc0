"""Reported usage: senders, events that wait for review, sender limits; readings, and the pieces of usage that they count."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import F, Q

from billing.models.fields import exact, lean_tenant
from billing.models.metering import Meter
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel
from tenants.models import Project

WAITING, ACCEPTED, REJECTED = "waiting", "accepted", "rejected"
OLD, BEFORE_PRICES, UNPRICED = "old", "before_prices", "unpriced"
STATES = [WAITING, ACCEPTED, REJECTED]
REASONS = [OLD, BEFORE_PRICES, UNPRICED]
LIVE = Q(voided_at=None)


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
    label = models.CharField(max_length=200, blank=True, default="", db_default="")
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
    currency = models.CharField(max_length=3)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant"], name="report_limit_once"),
            models.CheckConstraint(condition=Q(amount__gte=0, amount__lt=10**15), name="report_limit_is_real"),
        ]

    def __str__(self) -> str:
        return "limit of reported usage"


class MeterReading(TenantModel):
    """One event of a meter that takes readings. `key_hash` is its usage key; `group_hash` names its series.

    A series is what one meter reads of one resource of a project with the same dimensions. `period` is the month of its day.
    """

    id = None  # type: ignore[assignment]
    tenant = lean_tenant()
    pk = models.CompositePrimaryKey("tenant_id", "key_hash")
    key_hash = models.BinaryField()
    group_hash = models.BinaryField()
    meter = TenantForeignKey(Meter, on_delete=models.PROTECT, related_name="+", db_index=False)
    project = TenantForeignKey(Project, on_delete=models.PROTECT, related_name="+", db_index=False)
    batch = TenantForeignKey(UsageBatch, on_delete=models.PROTECT, related_name="+", db_index=False)
    period = models.DateField()
    at = models.DateTimeField()
    value = exact()
    label = models.CharField(max_length=200, blank=True, default="")
    source = models.CharField(max_length=120)
    resource = models.CharField(max_length=200)
    dims = models.JSONField(default=dict)
    hold_id = models.UUIDField(null=True)
    recorded_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    voided_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(value__gte=0, value__lte=10**12), name="reading_is_real"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "group_hash", "at"], name="reading_at", condition=LIVE),
            models.Index(fields=["tenant", "group_hash", "period", "-value"], name="reading_value", condition=LIVE),
            models.Index(
                fields=["tenant", "group_hash", "period", "label", "at"], name="reading_label", condition=LIVE
            ),
            models.Index(fields=["tenant", "batch", "key_hash"], name="reading_batch"),
        ]


class MeterPiece(TenantModel):
    """What a reading counts now: usage under a key of its own. A piece that is not counted any more is voided, never changed."""

    id = None  # type: ignore[assignment]
    tenant = lean_tenant()
    pk = models.CompositePrimaryKey("tenant_id", "key_hash")
    key_hash = models.BinaryField()
    reading_key = models.BinaryField()
    group_hash = models.BinaryField()
    series_hash = models.BinaryField()
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    quantity = exact()
    counted_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    voided_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        constraints = [
            models.CheckConstraint(condition=Q(quantity__gt=0, ends_at__gt=F("starts_at")), name="piece_is_real"),
            models.UniqueConstraint(
                fields=["tenant", "reading_key", "starts_at"], name="piece_counts_once", condition=LIVE
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "group_hash", "starts_at"], name="piece_of_series", condition=LIVE),
        ]


class MeterSeries(TenantModel):
    """A time-weighted series, and when the hour ends up to which its last value is counted next; no `due_at` at the value 0."""

    id = None  # type: ignore[assignment]
    tenant = lean_tenant()
    pk = models.CompositePrimaryKey("tenant_id", "group_hash")
    group_hash = models.BinaryField()
    due_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        indexes: ClassVar = [
            models.Index(fields=["due_at", "tenant"], name="meter_series_due", condition=Q(due_at__isnull=False)),
        ]
