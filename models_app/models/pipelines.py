"""Tables of pipelines: definitions, their runs, and the tries of their steps."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import F, Q

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

if TYPE_CHECKING:
    from uuid import UUID


class RunState(models.TextChoices):
    """States of a run; the last three are final."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class TryState(models.TextChoices):
    """States of a try of a step."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class Pipeline(TenantModel):
    """A named definition. Each change increases `version`; a run keeps the definition that it was launched with.

    `cap`: the most that the jobs of one run may spend, in `currency`. A removed one, with `removed_at`, stays for its runs.
    """

    name = models.CharField(max_length=120)
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, related_name="+")
    definition = models.JSONField()
    cap = models.DecimalField(max_digits=38, decimal_places=12, null=True)
    currency = models.CharField(max_length=3)
    version = models.PositiveIntegerField(default=1)
    created_by = models.UUIDField(null=True)
    created_by_label = models.CharField(max_length=254)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    changed_at = models.DateTimeField(db_default=DatabaseNow())
    removed_at = models.DateTimeField(null=True)

    if TYPE_CHECKING:
        project_id: UUID

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["tenant", "project", "name"], condition=Q(removed_at=None), name="models_app_pipeline_name"
            ),
            models.CheckConstraint(condition=Q(cap=None) | Q(cap__gt=0), name="models_app_pipeline_cap"),
        ]
        indexes: ClassVar = [models.Index(F("tenant"), F("id").desc(), name="models_app_pipeline_newest")]

    def __str__(self) -> str:
        return self.name


class PipelineRun(TenantModel):
    """One run. `set`: the job set of its jobs, which has their cap; `reason`: why it failed, or what it waits for.

    `launched_by`: the person or key whose rights of the day hold for each step; `person`: who is notified.
    """

    pipeline = TenantForeignKey(Pipeline, on_delete=models.PROTECT, related_name="runs")
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, related_name="+")
    version = models.PositiveIntegerField()
    definition = models.JSONField()
    trigger = models.CharField(max_length=60)
    state = models.CharField(max_length=9, choices=RunState, default=RunState.RUNNING)
    reason = models.TextField(blank=True)
    set = TenantForeignKey("compute.JobSet", on_delete=models.PROTECT, related_name="+")
    launched_by = models.UUIDField(null=True)
    launched_by_label = models.CharField(max_length=254)
    person = models.UUIDField(null=True)
    launched_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    ended_at = models.DateTimeField(null=True)

    if TYPE_CHECKING:
        project_id: UUID
        pipeline_id: UUID
        set_id: UUID

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(state__in=RunState.values), name="models_app_run_known_state"),
        ]
        indexes: ClassVar = [
            models.Index(F("tenant"), F("id").desc(), name="models_app_run_newest"),
            models.Index(fields=["id"], condition=Q(state="running"), name="models_app_run_open"),
        ]

    def __str__(self) -> str:
        return str(self.id)


class StepTry(TenantModel):
    """One try of a step for one of its items: a job, or what the step did at once. Its key makes it begin once.

    `final`: it was refused or cancelled, and no other try follows. `set_aside`: its step was started again by a person.
    """

    run = TenantForeignKey(PipelineRun, on_delete=models.PROTECT, related_name="tries")
    step = models.CharField(max_length=40)
    item = models.PositiveSmallIntegerField(default=0)
    number = models.PositiveSmallIntegerField()
    state = models.CharField(max_length=9, choices=TryState, default=TryState.RUNNING)
    job = TenantForeignKey("compute.Job", on_delete=models.PROTECT, null=True, related_name="+")
    outputs = models.JSONField(default=dict)
    message = models.TextField(blank=True)
    final = models.BooleanField(default=False)
    set_aside = models.BooleanField(default=False)
    began_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    ended_at = models.DateTimeField(null=True)

    if TYPE_CHECKING:
        run_id: UUID
        job_id: UUID | None

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "run", "step", "item", "number", name="models_app_try_once"),
            models.CheckConstraint(condition=Q(state__in=TryState.values), name="models_app_try_known_state"),
        ]
        indexes: ClassVar = [
            models.Index(fields=["tenant", "job"], condition=Q(job__isnull=False), name="models_app_try_job"),
        ]

    def __str__(self) -> str:
        return f"{self.step} {self.item} {self.number}"
