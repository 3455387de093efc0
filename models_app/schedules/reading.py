"""Reads of schedules and their runs, for pages and the API."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import DecimalField, F, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from billing.money import Money
from compute.jobs.visibility import visible_jobs
from models_app.access import sees_everything
from models_app.models import Schedule, ScheduleRun, StepTry, TickOutcome
from models_app.pipelines.reading import visible_pipelines, visible_runs
from models_app.presets.reading import visible_presets
from models_app.schedules import times
from tenants.access.actor import Actor
from tenants.access.reader import may_see_money
from tenants.audit import withheld
from tenants.errors import NotFound
from tenants.isolation.scoping import TenantQuerySet
from tenants.projects.sight import in_sight

LISTED = (
    "id", "name", "project_id", "cron", "zone", "preset_id", "pipeline_id", "overlap", "missed", "paused", "paused_reason",
    "next_at", "refusals", "runs_as_label", "created_by_label", "created_at", "changed_at",
)  # fmt: skip
MOST_OFFERED = 500
RUN = ("id", "due_at", "outcome", "reason", "job_id", "pipeline_run_id", "asked_by_label", "noted_at")


@dataclass(frozen=True, kw_only=True)
class ScheduleRow:
    """One schedule. `launches`: the name of its preset or pipeline. `last_outcome`: of its newest run; empty without one."""

    id: UUID
    name: str
    project_id: UUID
    project: str
    cron: str
    zone: str
    preset_id: UUID | None
    pipeline_id: UUID | None
    launches: str
    overlap: str
    missed: str
    paused: bool
    paused_reason: str
    next_at: datetime | None
    refusals: int
    runs_as_label: str
    created_by_label: str
    created_at: datetime
    changed_at: datetime
    last_outcome: str
    last_due_at: datetime | None

    @property
    def words(self) -> str:
        """Return the expression in words."""
        return times.words(self.cron)


@dataclass(frozen=True, kw_only=True)
class ScheduleRunRow:
    """What came of one tick. `work`, `state` and `cost` are name, state and cost of the job or run that it launched.

    `cost` is None for who sees no amounts.
    """

    id: UUID
    due_at: datetime
    outcome: str
    reason: str
    job_id: UUID | None
    pipeline_run_id: UUID | None
    asked_by_label: str
    noted_at: datetime
    work: str
    state: str
    cost: Money | None


def visible_schedules(actor: Actor) -> TenantQuerySet[Schedule]:
    """Return the schedules of the open scope in projects that the actor sees into."""
    return Schedule.objects.get_queryset().filter(in_sight(actor, "jobs.view"))


def schedule_list(actor: Actor, *, before: UUID | None = None, limit: int) -> list[ScheduleRow]:
    """Return up to `limit` + 1 schedules, newest first."""
    rows = _listed(visible_schedules(actor)).order_by("-id")
    rows = rows.filter(id__lt=before) if before else rows
    return [_row(row) for row in rows[: limit + 1]]


def schedule(actor: Actor, schedule_id: UUID) -> ScheduleRow:
    """Return one schedule. Raises NotFound."""
    row = _listed(visible_schedules(actor)).filter(id=schedule_id).first()
    if row is None:
        raise NotFound
    return _row(row)


def run_list(actor: Actor, schedule_id: UUID, *, before: datetime | None = None, limit: int) -> list[ScheduleRunRow]:
    """Return up to `limit` + 1 runs of a schedule, newest first, without those whose work is hidden. Raises NotFound."""
    if not visible_schedules(actor).filter(id=schedule_id).exists():
        raise NotFound
    rows = _runs(actor, schedule_id).order_by("-due_at")
    rows = rows.filter(due_at__lt=before) if before else rows
    return [_run(row) for row in rows[: limit + 1]]


def run(actor: Actor, schedule_id: UUID, run_id: UUID) -> ScheduleRunRow:
    """Return one run of a schedule. Raises NotFound."""
    row = _runs(actor, schedule_id).filter(id=run_id).first()
    if row is None:
        raise NotFound
    return _run(row)


def _runs(actor: Actor, schedule_id: UUID) -> Any:
    """Return the runs of a schedule whose work the actor may see, with state and cost of what they launched."""
    rows = ScheduleRun.objects.get_queryset().filter(schedule=schedule_id)
    if not sees_everything(actor):
        rows = rows.filter(Q(job=None) | Q(job__in=visible_jobs(actor).values("id")))
        rows = rows.filter(Q(pipeline_run=None) | Q(pipeline_run__in=visible_runs(actor).values("id")))
    shown: dict[str, Any] = {
        "work": Coalesce(F("job__name"), F("pipeline_run__pipeline__name")),
        "state": Coalesce(F("job__state"), F("pipeline_run__state")),
    }
    if may_see_money(actor):
        tries = StepTry.objects.filter(run=OuterRef("pipeline_run")).order_by().values("run")
        spent = Subquery(tries.annotate(total=Sum("job__spent")).values("total"), output_field=DecimalField())
        shown["spent"] = Coalesce(F("job__spent"), spent)
        shown["currency"] = Coalesce(F("job__currency"), F("pipeline_run__set__currency"))
    return rows.values(*RUN, **shown)


def launches(actor: Actor) -> list[tuple[str, list[tuple[str, str]]]]:
    """Return what the actor may have launched by schedule, newest first: for each kind, keys such as `preset:<id>` and labels."""
    found = []
    for title, kind, rows in (
        ("Pipelines", "pipeline", visible_pipelines(actor)),
        ("Presets", "preset", visible_presets(actor)),
    ):
        own = [row for row in rows.order_by("-id")[:MOST_OFFERED] if actor.can("jobs.launch", row)]
        found.append((title, [(f"{kind}:{row.id}", f"{row.name} ({row.project.name})") for row in own]))
    return found


def register_audited() -> None:
    """Register with the audit log which schedules an actor may see entries about."""

    def seen(actor: Actor, ids: set[UUID]) -> Any:
        return None if sees_everything(actor) else visible_schedules(actor).filter(id__in=ids)

    withheld.register("schedule", seen)


def _listed(rows: TenantQuerySet[Schedule]) -> Any:
    newest = ScheduleRun.objects.filter(schedule=OuterRef("id")).order_by("-due_at")[:1]
    return rows.values(
        *LISTED,
        project_name=F("project__name"),
        launches=Coalesce(F("preset__name"), F("pipeline__name")),
        last_outcome=Subquery(newest.values("outcome")),
        last_due_at=Subquery(newest.values("due_at")),
    )


def _row(row: Mapping[str, Any]) -> ScheduleRow:
    own = {name: row[name] for name in (*LISTED, "launches", "last_due_at")}
    return ScheduleRow(project=row["project_name"], last_outcome=row["last_outcome"] or "", **own)


def _run(row: Mapping[str, Any]) -> ScheduleRunRow:
    known = row["outcome"] == TickOutcome.LAUNCHED and "spent" in row
    cost = Money(row["spent"] or Decimal(0), row["currency"]) if known else None
    work, state = row["work"] or "", row["state"] or ""
    return ScheduleRunRow(work=work, state=state, cost=cost, **{name: row[name] for name in RUN})
