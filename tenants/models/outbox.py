"""The outbox: events that wait for their delivery."""

from django.db import models

from tenants.clock import DatabaseNow
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
