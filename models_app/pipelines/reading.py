"""Reads of pipelines and their runs, for pages and the API."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef, Sum

from billing.money import Money
from compute.jobs.visibility import visible_jobs
from compute.models import Job, JobSet
from models_app.access import sees_everything
from models_app.models import Pipeline, PipelineRun, RunState, StepTry
from models_app.pipelines import definition, kinds, plan
from models_app.pipelines.plan import Step, Try
from tenants.access.actor import Actor
from tenants.access.reader import may_see_money
from tenants.audit import withheld
from tenants.errors import NotFound
from tenants.isolation.scoping import TenantQuerySet
from tenants.projects.sight import in_sight

#: The states of steps in words.
WORDS = {
    plan.WAITING: "waits", plan.RUNNING: "runs", plan.SUCCEEDED: "succeeded", plan.FAILED: "failed",
    plan.SKIPPED: "skipped", plan.NOT_REACHED: "not reached",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class PipelineRow:
    """One pipeline. `cap` is None without one, and for an operator who looks inside."""

    id: UUID
    name: str
    project_id: UUID
    project: str
    steps: list[dict[str, Any]]
    cap: Money | None
    version: int
    created_by_label: str
    created_at: datetime
    changed_at: datetime


@dataclass(frozen=True, kw_only=True)
class RunRow:
    """One run of a pipeline."""

    id: UUID
    pipeline_id: UUID
    pipeline: str
    project_id: UUID
    project: str
    pipeline_removed: bool
    version: int
    trigger: str
    state: str
    reason: str
    job_set: UUID
    cap: Money | None
    launched_by: UUID | None
    launched_by_label: str
    launched_at: datetime
    ended_at: datetime | None

    @property
    def final(self) -> bool:
        """Return whether it has ended."""
        return self.state != RunState.RUNNING


@dataclass(frozen=True, kw_only=True)
class TryRow:
    """One try of a step."""

    item: int
    number: int
    state: str
    job: UUID | None
    message: str
    outputs: dict[str, Any]
    set_aside: bool
    began_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, kw_only=True)
class StepRow:
    """One step of a run. `state`: waiting, running, succeeded, failed, skipped or not reached."""

    name: str
    kind: str
    needs: tuple[str, ...]
    state: str
    tries: tuple[TryRow, ...]

    @property
    def words(self) -> str:
        """Return its state in words."""
        return WORDS[self.state]

    @property
    def message(self) -> str:
        """Return what its last try says."""
        return self.tries[-1].message if self.tries else ""


@dataclass(frozen=True, kw_only=True)
class RunDetail(RunRow):
    """One run with its steps. `spent`: what its jobs have cost so far; None for who sees no amounts."""

    steps: tuple[StepRow, ...]
    spent: Money | None

    @property
    def has_jobs(self) -> bool:
        """Return whether it has launched a job: before, nobody sees its job set."""
        return any(one.job for step in self.steps for one in step.tries)


def visible_pipelines(actor: Actor) -> TenantQuerySet[Pipeline]:
    """Return the pipelines of the open scope in projects that the actor sees into; without caps where it sees no amounts."""
    rows = _in_sight(actor).filter(removed_at=None).select_related("project")
    return rows if may_see_money(actor) else rows.defer("cap")


def _in_sight(actor: Actor) -> TenantQuerySet[Pipeline]:
    return Pipeline.objects.get_queryset().filter(in_sight(actor, "jobs.view"))


def visible_runs(actor: Actor) -> TenantQuerySet[PipelineRun]:
    """Return the runs of the open scope that the actor may see: in projects that it sees into, and with no job hidden from it."""
    rows = PipelineRun.objects.get_queryset().filter(in_sight(actor, "jobs.view"))
    rows = rows.select_related("pipeline", "project", "set")
    if not sees_everything(actor):
        hidden = StepTry.objects.filter(run=OuterRef("pk"), job__isnull=False).exclude(
            job__in=visible_jobs(actor).values("id")
        )
        rows = rows.exclude(Exists(hidden))
    return rows if may_see_money(actor) else rows.defer("set__cap", "pipeline__cap")


def pipeline_list(actor: Actor, *, before: UUID | None = None, limit: int) -> list[PipelineRow]:
    """Return up to `limit` + 1 pipelines, newest first."""
    rows = visible_pipelines(actor).order_by("-id")
    rows = rows.filter(id__lt=before) if before else rows
    return [_pipeline(row) for row in rows[: limit + 1]]


def pipeline(actor: Actor, pipeline_id: UUID) -> PipelineRow:
    """Return one pipeline. Raises NotFound."""
    row = visible_pipelines(actor).filter(id=pipeline_id).first()
    if row is None:
        raise NotFound
    return _pipeline(row)


def run_list(
    actor: Actor, *, pipeline_id: UUID | None = None, state: str = "", before: UUID | None = None, limit: int
) -> list[RunRow]:
    """Return up to `limit` + 1 runs, newest first."""
    rows = visible_runs(actor).order_by("-id")
    rows = rows.filter(pipeline_id=pipeline_id) if pipeline_id else rows
    rows = rows.filter(state=state) if state else rows
    rows = rows.filter(id__lt=before) if before else rows
    return [RunRow(**_run(row)) for row in rows.defer("definition")[: limit + 1]]


def run(actor: Actor, run_id: UUID) -> RunDetail:
    """Return one run with its steps. Raises NotFound."""
    row = visible_runs(actor).filter(id=run_id).first()
    if row is None:
        raise NotFound
    names = (
        "step",
        "item",
        "number",
        "state",
        "job_id",
        "message",
        "outputs",
        "final",
        "set_aside",
        "began_at",
        "ended_at",
    )
    found = list(StepTry.objects.filter(run=row).order_by("id").values(*names))
    steps = definition.read(row.definition, kinds.known())
    known = ("step", "item", "number", "state", "outputs", "final", "set_aside")
    tries = [Try(**{name: one[name] for name in known}) for one in found]
    states = plan.plan(steps, tries, 0).states
    spent = None
    if may_see_money(actor):
        of_set = Job.objects.filter(set_id=row.set_id, currency=row.set.currency)
        spent = Money(of_set.aggregate(total=Sum("spent"))["total"] or Decimal(0), row.set.currency)
    return RunDetail(**_run(row), spent=spent, steps=tuple(_step(step, states[step.name], found) for step in steps))


def _step(step: Step, state: str, found: list[dict[str, Any]]) -> StepRow:
    shown = ("item", "number", "state", "message", "outputs", "set_aside", "began_at", "ended_at")
    tries = tuple(
        TryRow(job=one["job_id"], **{name: one[name] for name in shown}) for one in found if one["step"] == step.name
    )
    return StepRow(name=step.name, kind=step.kind, needs=step.needs, state=state, tries=tries)


def _pipeline(row: Pipeline) -> PipelineRow:
    return PipelineRow(
        id=row.id, name=row.name, project_id=row.project_id, project=row.project.name, steps=row.definition["steps"],
        cap=_cap(row), version=row.version, created_by_label=row.created_by_label, created_at=row.created_at,
        changed_at=row.changed_at,
    )  # fmt: skip


def _run(row: PipelineRun) -> dict[str, Any]:
    names = (
        "id", "pipeline_id", "project_id", "version", "trigger", "state", "reason", "launched_by", "launched_by_label",
        "launched_at", "ended_at",
    )  # fmt: skip
    shown = {name: getattr(row, name) for name in names}
    return {
        **shown,
        "job_set": row.set_id,
        "cap": _cap(row.set),
        "pipeline": row.pipeline.name,
        "pipeline_removed": row.pipeline.removed_at is not None,
        "project": row.project.name,
    }


def _cap(row: Pipeline | JobSet) -> Money | None:
    return None if "cap" in row.get_deferred_fields() or row.cap is None else Money(row.cap, row.currency)


def register_audited() -> None:
    """Register with the audit log which pipelines and runs an actor may see entries about."""

    def seen_pipelines(actor: Actor, ids: set[UUID]) -> Any:
        return None if sees_everything(actor) else _in_sight(actor).filter(id__in=ids)

    def seen_runs(actor: Actor, ids: set[UUID]) -> Any:
        return None if sees_everything(actor) else visible_runs(actor).filter(id__in=ids)

    withheld.register("pipeline", seen_pipelines)
    withheld.register("pipelinerun", seen_runs)
