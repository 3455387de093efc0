"""The append-only audit log: entries and the head of each tenant's chain."""

from django.db import models

from tenants.isolation.scoping import TenantModel


class AuditEntry(TenantModel):
    """One entry, chained to the previous one. No foreign key leads to a live table, because the log outlives them all."""

    seq = models.BigIntegerField()
    occurred_at = models.DateTimeField()
    actor_type = models.CharField(max_length=10)
    actor_id = models.UUIDField(null=True)
    actor_label = models.CharField(max_length=254)
    action = models.CharField(max_length=80)
    target_type = models.CharField(max_length=40, blank=True)
    target_id = models.CharField(max_length=64, blank=True)
    target_label = models.CharField(max_length=254, blank=True)
    changes = models.JSONField(default=dict)
    reason = models.TextField(blank=True)
    ip = models.CharField(max_length=45, blank=True)
    user_agent = models.CharField(max_length=254, blank=True)
    request_id = models.CharField(max_length=64, blank=True)
    schema_version = models.PositiveSmallIntegerField(default=1)
    prev_hash = models.BinaryField()
    hash = models.BinaryField()

    class Meta(TenantModel.Meta):
        app_label = "tenants"
        constraints = [models.UniqueConstraint(fields=["tenant", "seq"], name="audit_seq_once")]
        indexes = [models.Index(fields=["tenant", "target_type", "target_id"], name="audit_target")]


class AuditHead(TenantModel):
    """Number and hash of a tenant's newest entry: its row lock makes the sequence gapless."""

    seq = models.BigIntegerField(default=0)
    hash = models.BinaryField(default=bytes(32))

    class Meta(TenantModel.Meta):
        app_label = "tenants"
        constraints = [models.UniqueConstraint(fields=["tenant"], name="audit_head_once")]
