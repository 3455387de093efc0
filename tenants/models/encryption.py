"""Master key records, the wrapped data keys of every tenant, and the platform key. No row contains a usable key."""

from typing import ClassVar

from django.db import models
from django.db.models import Q

from tenants.clock import DatabaseNow
from tenants.ids import uuid7
from tenants.isolation.scoping import TenantModel


class MasterKeyRecord(models.Model):
    """A master key by its fingerprint. The key itself is never stored; exactly one is in use."""

    id = models.CharField(primary_key=True, max_length=80)
    current = models.BooleanField(default=True)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    backup_confirmed_at = models.DateTimeField(null=True)

    class Meta:
        app_label = "tenants"
        db_table = "tenants_masterkey"
        constraints = [
            models.UniqueConstraint(fields=["current"], condition=Q(current=True), name="master_key_one_in_use")
        ]

    def __str__(self) -> str:
        return self.id


class TenantKey(TenantModel):
    """One version of a tenant's data key, wrapped. New objects take the highest version; older ones stay readable."""

    version = models.PositiveIntegerField()
    wrapped = models.BinaryField()
    master = models.ForeignKey(MasterKeyRecord, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta(TenantModel.Meta):
        app_label = "tenants"
        db_table = "tenants_datakey"
        constraints = [models.UniqueConstraint(fields=["tenant", "version"], name="data_key_version_once")]


class PlatformKey(models.Model):
    """The key pair of the platform's own secrets. The console seals with `public`; to open, the ops worker unwraps `wrapped`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    current = models.BooleanField(default=True)
    public = models.BinaryField()
    wrapped = models.BinaryField()
    master = models.ForeignKey(MasterKeyRecord, on_delete=models.PROTECT, related_name="+")
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["current"], condition=Q(current=True), name="platform_key_one_in_use")
        ]

    def __str__(self) -> str:
        return str(self.id)
