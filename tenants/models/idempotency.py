"""The first answers to requests that a client may send again."""

from django.db import models

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantModel


class IdempotencyKey(TenantModel):
    """The first response to a request with an `Idempotency-Key`; kept 30 days."""

    actor_id = models.UUIDField()
    key = models.CharField(max_length=200)
    request_hash = models.BinaryField()
    status = models.PositiveSmallIntegerField(null=True)
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "actor_id", "key"], name="idempotency_key_once")]
