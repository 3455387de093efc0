"""Endpoints that predict in real time, their keys, and their reservations."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import F, Func, Q

from models_app.models.registry import ModelVersion
from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel
from tenants.models import Credential
from tenants.sharing.tables import SharedWithGroup, SharedWithPerson

if TYPE_CHECKING:
    from uuid import UUID

SLO_MS = 2000


class EndpointState(models.TextChoices):
    """State of an endpoint; `failed` and `stopped` give the reason in `message` and are fixed by redeploying.

    A stopped endpoint has released its slot, and keeps its name and its keys.
    """

    DEPLOYING = "deploying"
    READY = "ready"
    FAILED = "failed"
    STOPPED = "stopped"
    UNDEPLOYED = "undeployed"


class Endpoint(TenantModel):
    """A name that serves one model version. `generation` grows with each deployment, so that nodes reload.

    `allocation_id`: its device slot; `slo_ms`: the wait above which new requests are refused. `cause`: why it is
    stopped: `budget`, `suspended` (its organisation), `refused` (to be deployed again). `tags` stay as long as the endpoint:
    usage that is settled again must be the same.
    """

    name = models.CharField(max_length=63)
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, related_name="+")
    version = TenantForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="endpoints")
    state = models.CharField(max_length=10, choices=EndpointState, default=EndpointState.DEPLOYING)
    message = models.TextField(blank=True)
    cause = models.CharField(max_length=10, blank=True, default="", db_default="")
    generation = models.PositiveIntegerField(default=1)
    allocation_id = models.UUIDField(null=True)
    slo_ms = models.PositiveIntegerField(default=SLO_MS)
    tags = models.JSONField(default=dict, db_default={})
    created_by = models.UUIDField(null=True)
    created_by_label = models.CharField(max_length=254)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    deployed_at = models.DateTimeField(db_default=DatabaseNow())
    undeployed_at = models.DateTimeField(null=True)

    if TYPE_CHECKING:
        project_id: UUID
        version_id: UUID

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(
                "tenant", "name", condition=~Q(state="undeployed"), name="models_app_endpoint_name_once"
            ),
            models.CheckConstraint(condition=Q(state__in=EndpointState.values), name="models_app_endpoint_state"),
        ]
        indexes: ClassVar = [models.Index(F("tenant"), F("id").desc(), name="models_app_endpoint_newest")]

    def __str__(self) -> str:
        return self.name

    @property
    def subject(self) -> str:
        """Return the subject of slot, quota and money reserved for this endpoint."""
        return f"endpoint:{self.id}"


class EndpointKey(Credential):
    """A key that calls one endpoint: verified by its hash, shown once."""

    endpoint = TenantForeignKey(Endpoint, on_delete=models.PROTECT, related_name="keys")
    name = models.CharField(max_length=120)
    prefix = models.CharField(max_length=12)
    key_hash = models.BinaryField()
    requests_per_minute = models.PositiveIntegerField(null=True)
    created_by = models.UUIDField(null=True)
    created_by_label = models.CharField(max_length=254)
    last_used_at = models.DateTimeField(null=True)

    if TYPE_CHECKING:
        endpoint_id: UUID

    class Meta:
        base_manager_name = "objects"
        indexes: ClassVar = [models.Index("key_hash", name="models_app_key_hash")]

    def __str__(self) -> str:
        return self.name

    @staticmethod
    def good() -> Q:
        """Return the filter for keys neither revoked nor expired."""
        return Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=DatabaseNow()))


class ServingSlice(TenantModel):
    """Money held in advance for one run (`boot`) of a serving node; closed when its hold is released.

    Without a hold, serving was free when it was taken. `node_id`: whose login took it; what other login did has none.
    """

    endpoint = TenantForeignKey(Endpoint, on_delete=models.PROTECT, related_name="slices")
    boot = models.UUIDField()
    number = models.PositiveIntegerField()
    node_id = models.UUIDField(
        db_default=Func(function="exchequer_node", output_field=models.UUIDField()), editable=False, null=True
    )
    hold_id = models.UUIDField(null=True)
    opened_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    closed_at = models.DateTimeField(null=True)

    if TYPE_CHECKING:
        endpoint_id: UUID

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "endpoint", "boot", "number", name="models_app_slice_once")
        ]
        indexes: ClassVar = [
            models.Index("tenant", "endpoint", condition=Q(closed_at=None), name="models_app_slice_open"),
            models.Index(fields=["tenant", "node_id", "opened_at"], name="models_app_slice_of_node"),
        ]


class EndpointUserPermission(SharedWithPerson):
    """One person's right to one endpoint."""

    content_object = TenantForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+")

    class Meta(SharedWithPerson.Meta):
        abstract = False
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "user", "permission", "content_object", name="endpoint_share_once")
        ]


class EndpointGroupPermission(SharedWithGroup):
    """One group's right to one endpoint."""

    content_object = TenantForeignKey(Endpoint, on_delete=models.CASCADE, related_name="+")

    class Meta(SharedWithGroup.Meta):
        abstract = False
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "group", "permission", "content_object", name="endpoint_group_share_once")
        ]
