"""The table of job sets: jobs launched together under one money cap."""

from __future__ import annotations

from typing import ClassVar

from django.db import models
from django.db.models import Q

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel


class JobSet(TenantModel):
    """Jobs launched together. Its state and its cost are those of its jobs, and are stored nowhere else.

    `cap`: the most that they may spend together, in `currency`; None for no cap of its own. `most_at_once`: so many run
    at the same time. `varied`: the parts of the request, as dotted paths, whose values differ between its jobs. `ended_at`: when all had ended; a retry clears it.
    """

    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, related_name="+")
    kind = models.CharField(max_length=8, choices=[("array", "Job array"), ("pipeline", "Pipeline run")])
    name = models.CharField(max_length=120)
    cap = models.DecimalField(max_digits=38, decimal_places=12, null=True)
    currency = models.CharField(max_length=3)
    most_at_once = models.PositiveSmallIntegerField(null=True)
    varied = models.JSONField(default=list)
    launched_by = models.UUIDField(null=True)
    launched_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    cancelled_at = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(kind__in=["array", "pipeline"]), name="compute_jobset_kind"),
            models.CheckConstraint(condition=Q(cap=None) | Q(cap__gt=0), name="compute_jobset_cap"),
            models.CheckConstraint(
                condition=Q(most_at_once=None) | Q(most_at_once__gt=0), name="compute_jobset_at_once"
            ),
        ]
        indexes: ClassVar = [models.Index(fields=["tenant", "-id"], name="compute_jobset_newest")]

    def __str__(self) -> str:
        return self.name
