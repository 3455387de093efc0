"""Tables of presets: launches that somebody saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar
from uuid import UUID

from django.db import models
from django.db.models import F, Q

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel


class Preset(TenantModel):
    """A saved launch of its project. `body`: what `POST /api/v1/jobs/` takes, without project, quote and `max_cost`.

    `max_cost` has a column of its own, in the organisation's currency: who sees no amounts reads the rest.
    """

    name = models.CharField(max_length=120)
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, related_name="+")
    body = models.JSONField()
    max_cost = models.DecimalField(max_digits=38, decimal_places=12, null=True)
    created_by = models.UUIDField(null=True)
    created_by_label = models.CharField(max_length=254)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    changed_at = models.DateTimeField(db_default=DatabaseNow())

    if TYPE_CHECKING:
        project_id: UUID

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "project", "name", name="models_app_preset_name"),
            models.CheckConstraint(condition=Q(max_cost=None) | Q(max_cost__gt=0), name="models_app_preset_cost"),
        ]
        indexes: ClassVar = [models.Index(F("tenant"), F("id").desc(), name="models_app_preset_newest")]

    def __str__(self) -> str:
        return self.name
