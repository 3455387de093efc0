"""The tables of what people are notified by: the bell of a tenant's members, and webhooks of both sides with their deliveries."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models

from tenants.clock import DatabaseNow
from tenants.ids import uuid7
from tenants.isolation.scoping import TenantForeignKey, TenantModel
from tenants.models.people import User


class Notification(TenantModel):
    """A notification for one member, with the page that shows it."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    kind = models.CharField(max_length=60)
    title = models.CharField(max_length=200)
    body = models.TextField(blank=True)
    path = models.CharField(max_length=300, blank=True)
    #: False for one that its member wants by email alone.
    bell = models.BooleanField(default=True, db_default=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    read_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        indexes = [
            models.Index(fields=["tenant", "user", "-id"], name="notification_newest"),
            models.Index(
                fields=["tenant", "user"], name="notification_unread", condition=models.Q(read_at__isnull=True)
            ),
        ]

    def __str__(self) -> str:
        return self.title


class NotificationChoice(TenantModel):
    """By which ways a member wants notifications of a topic. Without a row, as the topic's default says."""

    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="+")
    topic = models.CharField(max_length=60)
    bell = models.BooleanField()
    email = models.BooleanField()
    webhook = models.BooleanField(default=False, db_default=False)

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "user", "topic"], name="notification_choice_once"),
        ]

    def __str__(self) -> str:
        return self.topic


class WebhookFormat(models.TextChoices):
    """What a webhook receives: signed JSON, or a message as Slack and programs like it take it."""

    EXCHEQUER = "exchequer", "Exchequer JSON"
    SLACK = "slack", "Slack message"


class Receiver(models.Model):
    """What every webhook has, of a tenant or of the operators.

    `url`, `secret` and `previous_secret` are sealed; both secrets sign until `previous_until`. `failures` counts failed
    attempts since the last success; nothing is sent before `retry_at`, except what a person asks for.
    """

    name = models.CharField(max_length=60)
    url = models.BinaryField()
    host = models.CharField(max_length=260)
    types = ArrayField(models.CharField(max_length=40))
    format = models.CharField(max_length=12, choices=WebhookFormat.choices, default=WebhookFormat.EXCHEQUER)
    enabled = models.BooleanField(default=True)
    disabled_because = models.CharField(max_length=200, blank=True)
    secret = models.BinaryField()
    previous_secret = models.BinaryField(null=True)
    previous_until = models.DateTimeField(null=True)
    created_by = models.CharField(max_length=254)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    failures = models.PositiveIntegerField(default=0)
    failing_since = models.DateTimeField(null=True)
    retry_at = models.DateTimeField(null=True)
    notified_at = models.DateTimeField(null=True)
    last_delivered_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.name


class Webhook(TenantModel, Receiver):
    """An address of the tenant that receives events of the chosen types, sealed under the tenant's key."""

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "name"], name="webhook_name_once"),
            models.CheckConstraint(condition=models.Q(format__in=WebhookFormat.values), name="webhook_format_known"),
        ]


class DeliveryState(models.TextChoices):
    """Where a delivery stands."""

    PENDING = "pending", "waiting"
    DELIVERED = "delivered", "delivered"
    FAILED = "failed", "given up"


class Delivery(models.Model):
    """One event for one webhook, as it is sent, with a record of each attempt.

    `event_id` stays the same in every attempt. Attempts are made until three days after `since`, the next at `next_at`.
    """

    event_id = models.UUIDField()
    type = models.CharField(max_length=40)
    body = models.TextField()
    state = models.CharField(max_length=10, choices=DeliveryState.choices, default=DeliveryState.PENDING)
    attempts = models.PositiveIntegerField(default=0)
    log = models.JSONField(default=list)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    since = models.DateTimeField(db_default=DatabaseNow())
    next_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.type} {self.event_id}"


class WebhookDelivery(TenantModel, Delivery):
    """One event for one webhook of a tenant."""

    webhook = TenantForeignKey(Webhook, on_delete=models.CASCADE, related_name="deliveries")

    class Meta(TenantModel.Meta):
        constraints = [
            models.UniqueConstraint(fields=["tenant", "webhook", "event_id"], name="webhook_delivery_once"),
            models.CheckConstraint(condition=models.Q(state__in=DeliveryState.values), name="webhook_delivery_state"),
        ]
        indexes = [
            models.Index(fields=["tenant", "webhook", "-id"], name="webhook_delivery_newest"),
            models.Index(fields=["next_at"], name="webhook_delivery_due", condition=models.Q(state="pending")),
            models.Index(
                fields=["tenant", "webhook"], name="webhook_delivery_waiting", condition=models.Q(state="pending")
            ),
            models.Index(fields=["created_at"], name="webhook_delivery_age"),
        ]


class PlatformWebhook(Receiver):
    """An address of the operators that receives platform events, sealed under the platform key. No tenant's process reads it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["name"], name="platform_webhook_name_once"),
            models.CheckConstraint(
                condition=models.Q(format__in=WebhookFormat.values), name="platform_webhook_format_known"
            ),
        ]


class PlatformDelivery(Delivery):
    """One platform event for one platform webhook. A `forced` one is attempted although the webhook is to be left alone."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    webhook = models.ForeignKey(PlatformWebhook, on_delete=models.CASCADE, related_name="deliveries")
    forced = models.BooleanField(default=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["webhook", "event_id"], name="platform_delivery_once"),
            models.CheckConstraint(
                condition=models.Q(state__in=DeliveryState.values), name="platform_delivery_state_known"
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["webhook", "-id"], name="platform_delivery_newest"),
            models.Index(fields=["next_at"], name="platform_delivery_due", condition=models.Q(state="pending")),
            models.Index(fields=["created_at"], name="platform_delivery_age"),
        ]
