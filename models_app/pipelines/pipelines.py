"""Operations of people on pipelines and their runs: save, change, launch, cancel, retry. Each is audited."""

from __future__ import annotations

from decimal import Decimal
from types import EllipsisType
from typing import Any
from uuid import UUID

from billing.queries.calendar import tenant_today
from compute.jobs import jobs
from compute.models import FINAL_STATES, JobState
from compute.sets import ending
from compute.sets.opening import Opening, open_set
from models_app.models import Pipeline, PipelineRun, RunState, Schedule, StepTry, TryState
from models_app.pipelines import advancing, definition, kinds
from models_app.pipelines.reading import visible_pipelines, visible_runs
from tenants.access.actor import Actor, InProject
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import Conflict, Invalid, NotFound
from tenants.identity import creators
from tenants.isolation import limits
from tenants.projects.sight import project_fault

PIPELINE_SAVED = AuditAction("models_app.pipeline.saved")
PIPELINE_CHANGED = AuditAction("models_app.pipeline.changed")
PIPELINE_REMOVED = AuditAction("models_app.pipeline.removed")
RUN_LAUNCHED = AuditAction("models_app.pipeline_run.launched")
RUN_CANCELLED = AuditAction("models_app.pipeline_run.cancelled")
RUN_RETRIED = AuditAction("models_app.pipeline_run.retried")
MOST_PIPELINES = 500
MOST_AT_ONCE = 20


class PipelineNameTaken(Conflict):
    """Another pipeline of this project has this name. Choose another one."""

    code = "pipeline_name_taken"


class PipelineInUse(Conflict):
    """A schedule launches this pipeline, or a run of it is open. Remove the schedule, and cancel the run or wait for its end."""

    code = "pipeline_in_use"


class PipelineWasRemoved(Conflict):
    """The pipeline of this run was removed. Launch another pipeline."""

    code = "pipeline_removed"


class RunHasEnded(Conflict):
    """This run has ended. Launch the pipeline again, or retry a run that failed."""

    code = "pipeline_run_ended"


class RunNotFailed(Conflict):
    """Only a run that failed or was cancelled can be retried."""

    code = "pipeline_run_not_failed"


class TooManyRuns(Conflict):
    """Too many runs of this pipeline are open. Wait until one has ended, or cancel one."""

    code = "too_many_pipeline_runs"


@operation(PIPELINE_SAVED)
def create(*, actor: Actor, project_id: UUID, name: str, steps: Any, cap: Decimal | None = None) -> Pipeline:
    """Save a new pipeline. Raises Invalid with the step and the field, PipelineNameTaken, PermissionDenied."""
    actor.require_somewhere("jobs.launch")
    creators.lock_creator(actor)
    faults = _faults(name, cap)
    if fault := project_fault(actor, "jobs.launch", project_id):
        faults["project"] = [fault]
    checked = _checked(steps, faults)
    actor.require("jobs.launch", InProject(project_id))
    if limits.is_full(Pipeline.objects.filter(removed_at=None), MOST_PIPELINES):
        raise Conflict(f"An organisation has at most {MOST_PIPELINES} pipelines. Remove one that is no longer used.")
    row = Pipeline(
        project_id=project_id,
        name=name.strip(),
        definition=checked,
        cap=cap,
        currency=tenant_today().currency,
        created_by=actor.owner_id,
        created_by_label=actor.label,
    )
    _save(row, force_insert=True)
    record(PIPELINE_SAVED, actor=actor, target=row, changes={"steps": [None, len(checked["steps"])]})
    return row


@operation(PIPELINE_CHANGED)
def change(
    *,
    actor: Actor,
    pipeline_id: UUID,
    name: str | None = None,
    steps: Any = None,
    cap: Decimal | EllipsisType | None = ...,
) -> Pipeline:
    """Change what is given; runs that were launched before keep their definition. Raises NotFound, Invalid."""
    row = _locked_pipeline(actor, pipeline_id)
    wanted_cap = row.cap if isinstance(cap, EllipsisType) else cap
    faults = _faults(row.name if name is None else name, wanted_cap)
    checked = _checked({"steps": steps} if isinstance(steps, list) else steps, faults) if steps is not None else None
    if faults:
        raise Invalid(fields=faults)
    fields: dict[str, Any] = {} if isinstance(cap, EllipsisType) else {"cap": cap, "currency": tenant_today().currency}
    fields |= {} if name is None else {"name": name.strip()}
    fields |= {} if checked is None else {"definition": checked}
    changed = {key: value for key, value in fields.items() if getattr(row, key) != value}
    if not changed:
        unchanged("all of it is so already")
        return row
    before = row.name
    for key, value in changed.items():
        setattr(row, key, value)
    row.version += 1
    row.changed_at = DatabaseNow()
    _save(row, update_fields=[*changed, "version", "changed_at"])
    row.refresh_from_db()
    named = {"name": [before, row.name]} if "name" in changed else {}
    record(PIPELINE_CHANGED, actor=actor, target=row, changes={**named, "version": [row.version - 1, row.version]})
    return row


@operation(PIPELINE_REMOVED)
def remove(*, actor: Actor, pipeline_id: UUID) -> None:
    """Remove a pipeline; its runs stay to be read. Raises NotFound, PipelineInUse, PermissionDenied."""
    row = _locked_pipeline(actor, pipeline_id)
    user = Schedule.objects.filter(pipeline=row).order_by("name").values_list("name", flat=True).first()
    if user is not None:
        raise PipelineInUse(
            f"The schedule {user} launches this pipeline. Remove the schedule first, or have it launch something else."
        )
    if PipelineRun.objects.filter(pipeline=row, state=RunState.RUNNING).exists():
        raise PipelineInUse("A run of this pipeline is open. Wait until it has ended, or cancel it.")
    row.removed_at = DatabaseNow()
    row.save(update_fields=["removed_at"])
    record(PIPELINE_REMOVED, actor=actor, target=row, changes={"name": [row.name, None]})


def launch(*, actor: Actor, pipeline: UUID, trigger: str = "person") -> PipelineRun:
    """Launch a run, and begin its first steps. `trigger`: what launched it, such as `person` or `schedule`.

    Raises NotFound, PermissionDenied, TooManyRuns, Invalid. A full queue refuses nothing: the steps wait for it.
    """
    run = begin(actor=actor, pipeline=pipeline, trigger=trigger)
    advancing.advance(actor.tenant_id, run.id)
    return run


@operation(RUN_LAUNCHED)
def begin(*, actor: Actor, pipeline: UUID, trigger: str) -> PipelineRun:
    """Make a run without its first steps: `advancing.advance` begins them after the commit, or the sweep does.

    Raises as `launch`.
    """
    actor.require_somewhere("jobs.launch")
    creators.lock_creator(actor)
    row = _locked_pipeline(actor, pipeline)
    if fault := project_fault(actor, "jobs.launch", row.project_id):
        raise Invalid(fields={"project": [fault]})
    currency = tenant_today().currency
    if row.cap is not None and row.currency != currency:
        raise Invalid(
            fields={"cap": [f"The cap is in {row.currency}, and prices are in {currency}. Change the cap first."]}
        )
    open_runs = PipelineRun.objects.filter(pipeline=row, state=RunState.RUNNING)
    if open_runs[MOST_AT_ONCE - 1 : MOST_AT_ONCE].exists():
        raise TooManyRuns
    opening = Opening(kind="pipeline", project_id=row.project_id, name=row.name, cap=row.cap)
    run = PipelineRun(
        pipeline=row,
        set=open_set(actor=actor, asked=opening),
        project_id=row.project_id,
        version=row.version,
        definition=row.definition,
        trigger=trigger[:60],
        launched_by=actor.owner_id,
        launched_by_label=actor.label,
        person=creators.person_of(actor),
    )
    run.save(force_insert=True)
    changes = {"version": [None, row.version], "trigger": [None, run.trigger]}
    record(RUN_LAUNCHED, actor=actor, target=("pipelinerun", run.id, row.name), changes=changes)
    return run


@operation(RUN_CANCELLED)
def cancel(*, actor: Actor, run_id: UUID) -> PipelineRun:
    """Cancel a run and its open jobs; again changes nothing. Raises NotFound, RunHasEnded, PermissionDenied."""
    run = _locked_run(actor, run_id, "jobs.cancel")
    if run.state == RunState.CANCELLED:
        unchanged("it was cancelled before")
        return run
    if run.state != RunState.RUNNING:
        raise RunHasEnded(state=run.state)
    if run.launched_by not in actor.own_ids:
        actor.require("jobs.cancel_any", run)
    tries = StepTry.objects.filter(run=run, state=TryState.RUNNING)
    for one in tries.select_related("job").order_by("job_id"):
        if one.job is not None and one.job.state not in FINAL_STATES:
            jobs.cancel(
                actor=Actor.system(actor.tenant_id, "pipelines"),
                job_id=one.job.id,
                reason="Its pipeline's run was cancelled.",
            )
    tries.update(state=TryState.FAILED, message="The run was cancelled.", final=True, ended_at=DatabaseNow())
    advancing.note_end(run, RunState.CANCELLED)
    changes = {"state": [run.state, str(RunState.CANCELLED)]}
    record(RUN_CANCELLED, actor=actor, target=("pipelinerun", run.id, run.pipeline.name), changes=changes)
    run.refresh_from_db()
    return run


def retry(*, actor: Actor, run_id: UUID) -> PipelineRun:
    """Go on with a run from the steps that failed; what succeeded is kept. It goes on in the actor's name.

    Raises NotFound, RunNotFailed, PermissionDenied, Invalid.
    """
    run = _retry(actor=actor, run_id=run_id)
    advancing.advance(actor.tenant_id, run.id)
    return run


@operation(RUN_RETRIED)
def _retry(*, actor: Actor, run_id: UUID) -> PipelineRun:
    creators.lock_creator(actor)
    run = _locked_run(actor, run_id, "jobs.launch")
    if run.state not in (RunState.FAILED, RunState.CANCELLED):
        raise RunNotFailed(state=run.state)
    if not Pipeline.objects.select_for_update(no_key=True).filter(id=run.pipeline_id, removed_at=None):
        raise PipelineWasRemoved
    if fault := project_fault(actor, "jobs.launch", run.project_id):
        raise Invalid(fields={"project": [fault]})
    open_jobs = StepTry.objects.filter(run=run, job__state__in=[JobState.QUEUED, JobState.RUNNING, JobState.PAUSED])
    if open_jobs.exists():
        raise RunNotFailed("A job of this run has not ended yet. Wait for it, or cancel it.")
    StepTry.objects.filter(run=run, state=TryState.FAILED).update(set_aside=True)
    run.launched_by, run.launched_by_label, run.person = actor.owner_id, actor.label, creators.person_of(actor)
    run.state, run.reason, run.ended_at = RunState.RUNNING, "", None
    run.save(update_fields=["launched_by", "launched_by_label", "person", "state", "reason", "ended_at"])
    ending.reopen(run.set_id)
    changes = {"state": [str(RunState.FAILED), str(RunState.RUNNING)]}
    record(RUN_RETRIED, actor=actor, target=("pipelinerun", run.id, run.pipeline.name), changes=changes)
    return run


def _faults(name: str, cap: Decimal | None) -> dict[str, list[str]]:
    faults: dict[str, list[str]] = {}
    if not name.strip() or len(name.strip()) > 80 or not name.isprintable():
        faults["name"] = ["Enter a name of 1 to 80 printable characters."]
    if cap is not None and not (cap.is_finite() and 0 < cap < 10**12):
        faults["cap"] = ["Use an amount above 0, or leave it empty for no cap."]
    return faults


def _checked(body: Any, faults: dict[str, list[str]]) -> dict[str, Any]:
    """Return a valid definition. Raises Invalid with these faults and those of the definition."""
    steps: tuple[Any, ...] = ()
    try:
        steps = definition.read(body, kinds.known())
    except Invalid as wrong:
        faults |= wrong.fields
    for step in steps:
        if found := kinds.body_faults(step.kind, step.body):
            faults[f"steps.{step.name}.with"] = found
    if faults:
        raise Invalid(fields=faults)
    return {"steps": body["steps"]}


def _save(row: Pipeline, **how: Any) -> None:
    limits.save_unique(row, "models_app_pipeline_name", PipelineNameTaken, **how)


def _locked_pipeline(actor: Actor, pipeline_id: UUID) -> Pipeline:
    actor.require_somewhere("jobs.launch")
    row = visible_pipelines(actor).select_for_update(no_key=True, of=("self",)).filter(id=pipeline_id).first()
    if row is None:
        raise NotFound
    actor.require("jobs.launch", row)
    return row


def _locked_run(actor: Actor, run_id: UUID, permission: str) -> PipelineRun:
    actor.require_somewhere(permission)
    run = visible_runs(actor).select_for_update(no_key=True, of=("self",)).filter(id=run_id).first()
    if run is None:
        raise NotFound
    actor.require(permission, run)
    return run
