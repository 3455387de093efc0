"""The append-only audit log: entries and the head of each tenant's chain."""

from django.db import models
from django.db.models import Q

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel
from tenants.models.encryption import TenantKey

OUTCOMES = ("done", "refused", "failed")


class AuditEntry(TenantModel):
    """One entry, chained to the previous one. No foreign key leads to a live table, because the log outlives them all.

    From version 2 on, `person:ID` stands for a person in every text, and `sealed` holds the address and the program of
    the request, under the key of the person `subject`; `ip` and `user_agent` are empty.
    """

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
    on_behalf_of = models.UUIDField(null=True)
    credential = models.CharField(max_length=80, blank=True, default="")
    outcome = models.CharField(max_length=8, choices=[(one, one) for one in OUTCOMES], default="done")
    error_code = models.CharField(max_length=80, blank=True, default="")
    subject = models.UUIDField(null=True)
    sealed = models.BinaryField(null=True)
    prev_hash = models.BinaryField()
    hash = models.BinaryField()

    class Meta(TenantModel.Meta):
        app_label = "tenants"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "seq"], name="audit_seq_once"),
            models.CheckConstraint(condition=Q(outcome__in=OUTCOMES), name="audit_outcome_known"),
        ]
        indexes = [models.Index(fields=["tenant", "target_type", "target_id"], name="audit_target")]


class AuditHead(TenantModel):
    """Number and hash of a tenant's newest entry: its row lock makes the sequence gapless."""

    seq = models.BigIntegerField(default=0)
    hash = models.BinaryField(default=bytes(32))

    class Meta(TenantModel.Meta):
        app_label = "tenants"
        constraints = [models.UniqueConstraint(fields=["tenant"], name="audit_head_once")]


class AuditSubject(TenantModel):
    """A person whom entries name by this row's id: their label, under a key of their own, wrapped by a data key.

    `reference` is SHA-256 of the tenant and the address or account that it stands for. Erasure removes reference, key
    and label for ever; the id stays in the entries. Without a key so far: the process that wrote the entry had none.
    """

    reference = models.BinaryField(null=True)
    data_key = TenantForeignKey(TenantKey, on_delete=models.PROTECT, null=True, related_name="+")
    wrapped = models.BinaryField(null=True)
    label = models.BinaryField(null=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    erased_at = models.DateTimeField(null=True)

    class Meta(TenantModel.Meta):
        app_label = "tenants"
        constraints = [
            models.UniqueConstraint(fields=["tenant", "reference"], name="audit_subject_once"),
            models.CheckConstraint(
                condition=Q(erased_at=None) | Q(reference=None, data_key=None, wrapped=None, label=None),
                name="audit_subject_erased",
            ),
        ]
