"""The first answers to requests that a client may send again."""

from typing import ClassVar

from django.db import models

from tenants.clock import DatabaseNow
from tenants.ids import uuid7
from tenants.isolation.scoping import TenantModel


class FirstResponse(models.Model):
    """What both tables hold: the first response to a request with an `Idempotency-Key`; kept 30 days."""

    key = models.CharField(max_length=200)
    request_hash = models.BinaryField()
    status = models.PositiveSmallIntegerField(null=True)
    body = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return self.key


class IdempotencyKey(FirstResponse, TenantModel):
    """A first response of a tenant's side."""

    actor_id = models.UUIDField()

    class Meta(TenantModel.Meta):
        constraints = [models.UniqueConstraint(fields=["tenant", "actor_id", "key"], name="idempotency_key_once")]


class OperatorIdempotencyKey(FirstResponse):
    """A first response of the operators' console, whose requests belong to no tenant. `asker`: the operator, or their key."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    asker = models.UUIDField()

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["asker", "key"], name="operator_idempotency_key_once")]
