"""The table of long allocations: waiting for a device slot, or holding one."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import Q

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

if TYPE_CHECKING:
    from uuid import UUID

SERVING = "serving"
"""The device class of long allocations; jobs cannot request it."""


class SlotState(models.TextChoices):
    """An allocation waits for a slot, is live on one, and finally ended."""

    WAITING = "waiting"
    LIVE = "live"
    ENDED = "ended"


class Allocation(TenantModel):
    """One subject's claim on one device slot, until it is released. `token` counts its slots so far.

    `boot` is the run of the node's worker that renewed it last. A trigger lets it become live only on a device that it
    holds (`DeviceHold`); a foreign key would reveal other tenants. Its seconds on a slot are recorded up to
    `billed_until`; `settle_at` is the next settlement (`allocations/slot_billing.py`).
    """

    subject = models.CharField(max_length=120)
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, related_name="+")
    device_class = models.CharField(max_length=80, default=SERVING)
    state = models.CharField(max_length=7, choices=SlotState, default=SlotState.WAITING)
    token = models.PositiveIntegerField(default=0)
    device = models.ForeignKey("compute.Device", on_delete=models.PROTECT, related_name="+", null=True)
    device_name = models.CharField(max_length=160, blank=True)
    node = models.ForeignKey("compute.Node", on_delete=models.PROTECT, related_name="+", null=True)
    boot = models.UUIDField(null=True)
    requested_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    assigned_at = models.DateTimeField(null=True)
    lease_until = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    reason = models.CharField(max_length=400, blank=True)
    dims = models.JSONField(default=dict, db_default={})
    requested_by = models.UUIDField(null=True)
    requested_by_label = models.CharField(max_length=254, blank=True, default="", db_default="")
    hold_id = models.UUIDField(null=True)
    billed_until = models.DateTimeField(null=True)
    settle_at = models.DateTimeField(null=True)

    if TYPE_CHECKING:
        project_id: UUID
        device_id: UUID | None
        node_id: UUID | None

    class Meta:
        app_label = "compute"
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "subject"], condition=~Q(state="ended"), name="compute_allocation_one_per_subject"
            ),
            models.UniqueConstraint(
                fields=["tenant", "device"], condition=Q(state="live"), name="compute_allocation_one_per_device"
            ),
            models.CheckConstraint(
                condition=Q(
                    state="live", device__isnull=False, node__isnull=False, lease_until__isnull=False, ended_at=None
                )
                | Q(state="waiting", device=None, node=None, lease_until=None, ended_at=None)
                | Q(state="ended", ended_at__isnull=False),
                name="compute_allocation_fields_with_state",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["node"], condition=Q(state="live"), name="compute_allocation_of_node"),
            models.Index(fields=["requested_at"], condition=Q(state="waiting"), name="compute_allocation_waiting"),
            models.Index(fields=["tenant", "subject", "-id"], name="compute_allocation_last"),
        ]

    def __str__(self) -> str:
        return self.subject
