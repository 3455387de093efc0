"""Tables of schedules and of their runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.db import models
from django.db.models import F, Q

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import TenantForeignKey, TenantModel

if TYPE_CHECKING:
    from uuid import UUID


class Overlap(models.TextChoices):
    """What follows when a schedule is due and its former run has not ended."""

    SKIP = "skip"
    QUEUE = "queue"
    ALLOW = "allow"


class Missed(models.TextChoices):
    """What follows when nobody looked while a schedule was due."""

    LATEST = "latest"
    NONE = "none"


class TickOutcome(models.TextChoices):
    """What came of a tick; a waiting one is launched or refused later."""

    LAUNCHED = "launched"
    WAITING = "waiting"
    SKIPPED = "skipped"
    MISSED = "missed"
    REFUSED = "refused"


class Schedule(TenantModel):
    """A preset or a pipeline of its project, launched by a cron expression in a time zone.

    `next_at`: None while it is paused; `paused_reason` says why. `runs_as`: the person or key whose rights of the day hold
    for each launch: who made, changed or resumed it last; `person`: who is notified. `refusals`: those in a row.
    """

    name = models.CharField(max_length=80)
    project = TenantForeignKey("tenants.Project", on_delete=models.PROTECT, related_name="+")
    cron = models.CharField(max_length=100)
    zone = models.CharField(max_length=64)
    preset = TenantForeignKey("models_app.Preset", on_delete=models.PROTECT, null=True, related_name="+")
    pipeline = TenantForeignKey("models_app.Pipeline", on_delete=models.PROTECT, null=True, related_name="+")
    overlap = models.CharField(max_length=5, choices=Overlap, default=Overlap.SKIP)
    missed = models.CharField(max_length=6, choices=Missed, default=Missed.LATEST)
    paused = models.BooleanField(default=False)
    paused_reason = models.TextField(blank=True)
    next_at = models.DateTimeField(null=True)
    refusals = models.PositiveSmallIntegerField(default=0)
    runs_as = models.UUIDField()
    runs_as_label = models.CharField(max_length=254)
    person = models.UUIDField(null=True)
    created_by = models.UUIDField(null=True)
    created_by_label = models.CharField(max_length=254)
    created_at = models.DateTimeField(db_default=DatabaseNow(), editable=False)
    changed_at = models.DateTimeField(db_default=DatabaseNow())

    if TYPE_CHECKING:
        project_id: UUID
        preset_id: UUID | None
        pipeline_id: UUID | None

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "project", "name", name="models_app_schedule_name"),
            models.CheckConstraint(
                condition=Q(preset=None, pipeline__isnull=False) | Q(preset__isnull=False, pipeline=None),
                name="models_app_schedule_one_thing",
            ),
            models.CheckConstraint(
                condition=Q(paused=True, next_at=None) | Q(paused=False, next_at__isnull=False),
                name="models_app_schedule_due",
            ),
            models.CheckConstraint(condition=Q(overlap__in=Overlap.values), name="models_app_schedule_overlap"),
            models.CheckConstraint(condition=Q(missed__in=Missed.values), name="models_app_schedule_missed"),
        ]
        indexes: ClassVar = [
            models.Index(F("tenant"), F("id").desc(), name="models_app_schedule_newest"),
            models.Index(fields=["next_at"], condition=Q(paused=False), name="models_app_schedule_next"),
            models.Index(
                fields=["tenant", "preset"], condition=Q(preset__isnull=False), name="models_app_schedule_preset"
            ),
            models.Index(
                fields=["tenant", "pipeline"], condition=Q(pipeline__isnull=False), name="models_app_schedule_pipe"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class ScheduleRun(TenantModel):
    """What came of one tick of a schedule, with the job or the run that it launched. Its key makes it happen once.

    `due_at`: the tick, or when a person asked for it; then `asked_by_label` says who.
    """

    schedule = TenantForeignKey(Schedule, on_delete=models.PROTECT, related_name="runs")
    due_at = models.DateTimeField()
    outcome = models.CharField(max_length=8, choices=TickOutcome)
    reason = models.TextField(blank=True)
    job = TenantForeignKey("compute.Job", on_delete=models.PROTECT, null=True, related_name="+")
    pipeline_run = TenantForeignKey("models_app.PipelineRun", on_delete=models.PROTECT, null=True, related_name="+")
    asked_by_label = models.CharField(max_length=254, blank=True)
    noted_at = models.DateTimeField(db_default=DatabaseNow())

    if TYPE_CHECKING:
        schedule_id: UUID
        job_id: UUID | None
        pipeline_run_id: UUID | None

    class Meta:
        base_manager_name = "objects"
        constraints: ClassVar = [
            models.UniqueConstraint("tenant", "schedule", "due_at", name="models_app_tick_once"),
            models.UniqueConstraint(
                fields=["tenant", "schedule"], condition=Q(outcome="waiting"), name="models_app_tick_one_waits"
            ),
            models.CheckConstraint(condition=Q(outcome__in=TickOutcome.values), name="models_app_tick_outcome"),
            models.CheckConstraint(
                condition=Q(outcome="launched", job__isnull=False, pipeline_run=None)
                | Q(outcome="launched", job=None, pipeline_run__isnull=False)
                | ~Q(outcome="launched") & Q(job=None, pipeline_run=None),
                name="models_app_tick_launched",
            ),
        ]
        indexes: ClassVar = [
            models.Index(fields=["schedule"], condition=Q(outcome="waiting"), name="models_app_tick_waiting"),
            models.Index(fields=["tenant", "due_at"], name="models_app_tick_age"),
        ]

    def __str__(self) -> str:
        return f"{self.schedule_id} {self.due_at.isoformat()}"
