"""Signed checkpoints of the audit chains, and the public keys that verify them: append-only, as the chains are."""

from typing import ClassVar

from django.db import models

from tenants.clock import DatabaseNow
from tenants.ids import uuid7
from tenants.isolation.scoping import TenantModel


class AuditPublicKey(models.Model):
    """A key that checkpoints were signed with, by its fingerprint; 32 bytes (Ed25519). Kept for ever."""

    id = models.CharField(primary_key=True, max_length=40)
    public = models.BinaryField()
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        app_label = "tenants"

    def __str__(self) -> str:
        return self.id


class Checkpoint(models.Model):
    """The signed statement that a chain had this hash at this number at this time."""

    seq = models.BigIntegerField()
    hash = models.BinaryField()
    at = models.DateTimeField()
    signed_by = models.CharField(max_length=40)
    signature = models.BinaryField()

    class Meta:
        abstract = True


class AuditCheckpoint(Checkpoint, TenantModel):
    """A checkpoint of a tenant's chain."""

    class Meta(TenantModel.Meta):
        app_label = "tenants"
        abstract = False
        constraints = [models.UniqueConstraint(fields=["tenant", "seq"], name="audit_checkpoint_once")]

    def __str__(self) -> str:
        return str(self.seq)


class PlatformCheckpoint(Checkpoint):
    """A checkpoint of the operator log."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)

    class Meta:
        app_label = "tenants"
        constraints: ClassVar = [models.UniqueConstraint(fields=["seq"], name="platform_checkpoint_once")]

    def __str__(self) -> str:
        return str(self.seq)
