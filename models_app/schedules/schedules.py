"""Operations of people on schedules: save, change, pause, resume, launch now, remove. Each is audited."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from models_app.events import SchedulePaused
from models_app.models import Missed, Overlap, Schedule, ScheduleRun, TickOutcome
from models_app.pipelines import advancing
from models_app.pipelines.reading import visible_pipelines
from models_app.presets.reading import visible_presets
from models_app.schedules import launching, notices, times
from models_app.schedules.reading import visible_schedules
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow, now
from tenants.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenants.events.events import publish
from tenants.identity import creators
from tenants.isolation import limits
from tenants.models import Tenant

SAVED = AuditAction("models_app.schedule.saved")
CHANGED = AuditAction("models_app.schedule.changed")
PAUSED = AuditAction("models_app.schedule.paused", while_closing=True)
RESUMED = AuditAction("models_app.schedule.resumed")
LAUNCHED = AuditAction("models_app.schedule.launched")
REMOVED = AuditAction("models_app.schedule.removed")
MOST_SCHEDULES = 200
TEXTS = ("name", "cron", "zone", "overlap", "missed")
TARGETS = ("preset", "pipeline")
WAS_PAUSED = "The schedule was paused before this could be launched."


class ScheduleNameTaken(Conflict):
    """Another schedule of this project has this name. Choose another one."""

    code = "schedule_name_taken"


@operation(SAVED)
def create(*, actor: Actor, wanted: Mapping[str, Any]) -> Schedule:
    """Save a schedule of a preset or a pipeline, in its project. It launches with the rights that the actor has at each tick.

    `wanted`: `name`, `cron`, `zone` (the organisation's unless given), one of `preset` and `pipeline` (ids), `overlap`,
    `missed`. Raises Invalid, ScheduleNameTaken, PermissionDenied.
    """
    actor.require_somewhere("jobs.launch")
    creators.lock_creator(actor)
    row = Schedule(created_by=actor.owner_id, created_by_label=actor.label)
    _fill(row, actor, {"zone": Tenant.objects.values_list("timezone", flat=True).get(id=actor.tenant_id), **wanted})
    actor.require("jobs.launch", row)
    if limits.is_full(Schedule.objects.all(), MOST_SCHEDULES):
        raise Conflict(f"An organisation has at most {MOST_SCHEDULES} schedules. Remove one that is no longer used.")
    row.next_at = _next(row)
    _save(row, force_insert=True)
    record(SAVED, actor=actor, target=row, changes={name: [None, getattr(row, name)] for name in ("cron", "zone")})
    return row


@operation(CHANGED)
def change(*, actor: Actor, schedule_id: UUID, wanted: Mapping[str, Any]) -> Schedule:
    """Change what is given; from then on the schedule launches with the actor's rights. Raises as `create`, and NotFound."""
    row = _locked(actor, schedule_id)
    creators.lock_creator(actor)
    names = (*TEXTS, "preset_id", "pipeline_id")
    before = {name: getattr(row, name) for name in names}
    _fill(row, actor, wanted)
    changed = {name: [before[name], getattr(row, name)] for name in names if getattr(row, name) != before[name]}
    if not changed:
        unchanged("all of it is so already")
        row.refresh_from_db()
        return row
    if not row.paused and {"cron", "zone"} & changed.keys():
        row.next_at = _next(row)
    row.refusals = 0
    row.changed_at = DatabaseNow()
    _save(row)
    row.refresh_from_db()
    shown = {name: [plain and str(plain) for plain in values] for name, values in changed.items()}
    record(CHANGED, actor=actor, target=row, changes=shown)
    return row


@operation(PAUSED)
def pause(*, actor: Actor, schedule_id: UUID, reason: str = "") -> Schedule:
    """Pause a schedule; a run that waits is skipped, and what runs goes on. Raises NotFound, PermissionDenied.

    `reason`: why it paused itself; then those who can resume it are notified.
    """
    row = _locked(actor, schedule_id)
    if row.paused:
        unchanged("it was paused before")
        return row
    row.paused, row.next_at = True, None
    row.paused_reason = reason or f"Paused by {actor.said}."
    row.save(update_fields=["paused", "next_at", "paused_reason"])
    waiting = ScheduleRun.objects.filter(schedule=row, outcome=TickOutcome.WAITING)
    waiting.update(outcome=TickOutcome.SKIPPED, reason=WAS_PAUSED, noted_at=DatabaseNow())
    record(PAUSED, actor=actor, target=row, changes={"paused": [False, True]}, reason=reason)
    if reason:
        publish(SchedulePaused(tenant_id=actor.tenant_id, schedule_id=row.id))
        notices.paused(row)
    return row


@operation(RESUMED)
def resume(*, actor: Actor, schedule_id: UUID) -> Schedule:
    """Go on from the next tick, with the actor's rights; ticks of the pause are not launched. Raises NotFound, Invalid."""
    row = _locked(actor, schedule_id)
    creators.lock_creator(actor)
    if not row.paused:
        unchanged("it is not paused")
        return row
    _fill(row, actor, {})
    row.paused, row.paused_reason, row.refusals, row.next_at = False, "", 0, _next(row)
    row.save()
    record(RESUMED, actor=actor, target=row, changes={"paused": [True, False]})
    notices.settle(row)
    return row


def launch_now(*, actor: Actor, schedule_id: UUID) -> ScheduleRun:
    """Launch what a schedule launches, with the actor's own rights, whatever else runs. Its ticks stay as they are.

    Raises NotFound, PermissionDenied, and whatever the launch raises.
    """
    run = _launch_now(actor=actor, schedule_id=schedule_id)
    if run.pipeline_run_id is not None:
        advancing.advance(actor.tenant_id, run.pipeline_run_id)
    return run


@operation(LAUNCHED)
def _launch_now(*, actor: Actor, schedule_id: UUID) -> ScheduleRun:
    row = _locked(actor, schedule_id)
    run = ScheduleRun(schedule=row, due_at=now(), outcome=TickOutcome.LAUNCHED, asked_by_label=actor.label)
    launching.launch(run, row, actor=actor, trigger="person")
    run.save(force_insert=True)
    record(LAUNCHED, actor=actor, target=row, changes={"due_at": [None, run.due_at.isoformat()]})
    return run


@operation(REMOVED)
def remove(*, actor: Actor, schedule_id: UUID) -> None:
    """Remove a schedule and its history; the jobs and runs that it launched stay. Raises NotFound, PermissionDenied."""
    row = _locked(actor, schedule_id)
    record(REMOVED, actor=actor, target=row, changes={"name": [row.name, None]})
    ScheduleRun.objects.filter(schedule=row).delete()
    row.delete()


def _fill(row: Schedule, actor: Actor, wanted: Mapping[str, Any]) -> None:
    """Put what is wanted into a row, and make the actor the one with whose rights it launches. Raises Invalid."""
    if actor.owner_id is None:
        raise PermissionDenied("A schedule launches with the rights of a person or a key.")
    for name in TEXTS:
        if name in wanted:
            setattr(row, name, str(wanted[name]).strip())
    faults = times.faults(row.cron, row.zone)
    if not row.name or len(row.name) > 80 or not row.name.isprintable():
        faults["name"] = ["Enter a name of 1 to 80 printable characters."]
    for name, choices in (("overlap", Overlap), ("missed", Missed)):
        if getattr(row, name) not in choices.values:
            faults[name] = [f"Choose one of: {', '.join(choices.values)}."]
    _aim(row, actor, wanted, faults)
    if faults:
        raise Invalid(fields=faults)
    row.runs_as, row.runs_as_label, row.person = actor.owner_id, actor.label, creators.person_of(actor)


def _aim(row: Schedule, actor: Actor, wanted: Mapping[str, Any], faults: dict[str, list[str]]) -> None:
    """Have a schedule launch the wanted preset or pipeline, locked against its removal; add what is wrong to the faults."""
    given = [name for name in TARGETS if wanted.get(name) is not None]
    if not given and (row.preset_id or row.pipeline_id):
        return
    if len(given) != 1:
        text = "Give the preset or the pipeline that it launches, and not both."
        faults |= {name: [text] for name in given or TARGETS}
        return
    (name,) = given
    rows: Any = visible_presets(actor) if name == "preset" else visible_pipelines(actor)
    found = rows.select_for_update(no_key=True, of=("self",)).filter(id=wanted[name]).first()
    if found is None or not actor.can("jobs.launch", found):
        faults[name] = [f"There is no such {name} that you may launch."]
        return
    if row.project_id is not None and found.project_id != row.project_id:
        faults[name] = ["A schedule keeps its project. Save another schedule for what is in another one."]
        return
    row.project_id = found.project_id
    row.preset, row.pipeline = (found, None) if name == "preset" else (None, found)


def _next(row: Schedule) -> Any:
    return times.upcoming(row.cron, row.zone, now())[0]


def _save(row: Schedule, **how: Any) -> None:
    limits.save_unique(row, "models_app_schedule_name", ScheduleNameTaken, **how)


def _locked(actor: Actor, schedule_id: UUID) -> Schedule:
    actor.require_somewhere("jobs.launch")
    row = visible_schedules(actor).select_for_update(no_key=True, of=("self",)).filter(id=schedule_id).first()
    if row is None:
        raise NotFound
    actor.require("jobs.launch", row)
    return row
