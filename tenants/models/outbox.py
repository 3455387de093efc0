"""The outbox of tenants' events, and the events of the platform with the emails about them."""

from typing import ClassVar

from django.conf import settings
from django.db import models

from tenants.clock import DatabaseNow
from tenants.ids import uuid7
from tenants.isolation.scoping import TenantModel


class OutboxMessage(TenantModel):
    """An event committed with its change; the relay sends wake-ups until it is delivered."""

    topic = models.CharField(max_length=80)
    payload = models.JSONField()
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    rung_at = models.DateTimeField(null=True)
    delivered_at = models.DateTimeField(null=True)
    attempts = models.PositiveIntegerField(default=0)
    last_error = models.TextField(blank=True)

    class Meta(TenantModel.Meta):
        indexes = [
            models.Index(
                fields=["created_at"],
                name="outbox_open",
                condition=models.Q(delivered_at__isnull=True),
            )
        ]


class PlatformEvent(models.Model):
    """What operators should know. It waits until `spread_at` for the ops worker, which makes deliveries and emails of it.

    `once` names the occurrence: one that is noticed again is not stored again. `about` is the tenant concerned.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    type = models.CharField(max_length=40)
    once = models.CharField(max_length=200, unique=True)
    kind = models.CharField(max_length=40)
    object = models.CharField(max_length=64)
    path = models.CharField(max_length=300)
    about = models.UUIDField(null=True)
    data = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    spread_at = models.DateTimeField(null=True)

    class Meta:
        indexes: ClassVar = [
            models.Index(fields=["id"], name="platform_event_new", condition=models.Q(spread_at__isnull=True)),
            models.Index(fields=["created_at"], name="platform_event_age"),
        ]

    def __str__(self) -> str:
        return self.type


class OperatorEmail(models.Model):
    """An email about a platform event to one operator; sent at `next_at` at the earliest, until `sent_at`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    event = models.ForeignKey(PlatformEvent, on_delete=models.CASCADE, related_name="emails")
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    attempts = models.PositiveIntegerField(default=0)
    next_at = models.DateTimeField(db_default=DatabaseNow())
    sent_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["event", "user"], name="operator_email_once")]
        indexes: ClassVar = [
            models.Index(fields=["next_at"], name="operator_email_due", condition=models.Q(sent_at__isnull=True))
        ]

    def __str__(self) -> str:
        return str(self.id)


class OperatorEmailChoice(models.Model):
    """Whether an operator wants emails about a type of platform event. Without a row, their roles decide."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    type = models.CharField(max_length=40)
    wanted = models.BooleanField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["user", "type"], name="operator_email_choice_once")]

    def __str__(self) -> str:
        return self.type
