"""Advance runs of pipelines: read what the tries of their steps came to, and begin what the planner says.

A run is advanced under its row's lock, when it is launched, when a job of it ends, and by a sweep. Each try is inserted under
its key in the transaction that launches its job, so that two who advance at once launch nothing twice. Locks: the run, then
those of the operations that its steps call.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import transaction

from compute.models import Job, JobState
from compute.sets import ending
from models_app.events import PipelineRunEnded
from models_app.models import PipelineRun, RunState, StepTry, TryState
from models_app.pipelines import definition, kinds, plan, step_jobs
from models_app.pipelines.kinds import Work
from models_app.pipelines.plan import Launch, Reference, Step, Try
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record
from tenants.clock import DatabaseNow
from tenants.errors import ExchequerError, Invalid, RateLimited
from tenants.events.events import publish
from tenants.identity.authentication import actor_today
from tenants.isolation.scoping import all_tenants, tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.notifications import notifications

RUN_ENDED = AuditAction("models_app.pipeline_run.ended")
FAILED = "pipeline_failed"
GONE = "The person or key that launched it may no longer launch jobs here."
WAITS_FOR_QUEUE = "It waits for room in the queue: the most jobs of this organisation are waiting."
UNLIMITED = 10**6


def advance_all() -> int:
    """Advance every open run (control role); return how many there are. Raises SweepFailed if one failed."""
    with all_tenants("runs of pipelines are open in every tenant"):
        found = PipelineRun.objects.filter(state=RunState.RUNNING).order_by("id")
        open_runs = list(found.values_list("tenant_id", "id"))
    with sweep("pipelines") as each:
        for tenant_id, run_id in each.over(open_runs):
            with each(tenant=tenant_id, run=run_id):
                advance(tenant_id, run_id)
                fetch(tenant_id, run_id)
    return len(open_runs)


def after_job(tenant_id: UUID, job_id: UUID) -> None:
    """Advance the run whose step an ended job was; nothing for another job."""
    with tenant_scope(tenant_id):
        run_id = StepTry.objects.filter(job_id=job_id).values_list("run_id", flat=True).first()
    if run_id is not None:
        advance(tenant_id, run_id)


def advance(tenant_id: UUID, run_id: UUID) -> None:
    """Take a run as far as it goes now; nothing for one that has ended."""
    with tenant_scope(tenant_id):
        rows = PipelineRun.objects.select_for_update(no_key=True, of=("self",)).select_related("pipeline")
        run = rows.filter(id=run_id, state=RunState.RUNNING).first()
        if run is not None:
            _Advance(run).go()


def fetch(tenant_id: UUID, run_id: UUID) -> None:
    """Do what the steps of a run ask of other servers, outside transactions, and advance it."""
    with tenant_scope(tenant_id):
        run = PipelineRun.objects.select_related("pipeline").filter(id=run_id, state=RunState.RUNNING).first()
        if run is None:
            return
        advancing = _Advance(run)
        found = StepTry.objects.filter(run=run, state=TryState.RUNNING, job=None, outputs={})
        waiting = [(one, advancing.kind(one.step), advancing.work(one.step, one.item)) for one in found]
    for one, kind, work in waiting:
        if not hasattr(kind, "fetch"):
            continue
        try:
            changed: dict[str, Any] = {"outputs": kind.fetch(work)}
        except RateLimited:
            continue
        except ExchequerError as error:
            changed = {"state": TryState.FAILED, "message": error.message[:500], "ended_at": DatabaseNow()}
        with tenant_scope(tenant_id):
            StepTry.objects.filter(id=one.id, state=TryState.RUNNING, outputs={}).update(**changed)
    if waiting:
        advance(tenant_id, run_id)


class _Advance:
    """One run, locked, with its steps and the launcher's rights of today."""

    def __init__(self, run: PipelineRun) -> None:
        self.run = run
        self.steps = {step.name: step for step in definition.read(run.definition, kinds.known())}
        self.actor: Actor = replace(
            actor_today(run.tenant_id, run.launched_by), label=run.launched_by_label or "pipelines"
        )
        self.states: Mapping[str, str] = {}

    @property
    def allowed(self) -> bool:
        """Return whether the launcher may launch jobs in the run's project today."""
        return self.actor.can("jobs.launch", self.run)

    def go(self) -> None:
        """Follow what began, then begin what can, until nothing more can or the run has ended."""
        self._follow()
        while True:
            tries = self._tries()
            now = plan.plan(tuple(self.steps.values()), tries, self._room())
            self.states = now.states
            if not self.allowed and not any(one.state == plan.RUNNING for one in tries):
                return _end(actor=self._system(), run=self.run, state=RunState.FAILED, reason=GONE)
            if now.end:
                return _end(actor=self._system(), run=self.run, state=RunState(now.end), reason=self._why(now.end))
            begun = [self._begin(launch) for launch in now.launches] if self.allowed else []
            if not any(begun):
                blocked = now.blocked or len(begun) > 0
                return self._note(WAITS_FOR_QUEUE if blocked else "")
            if not all(begun):
                return self._note(WAITS_FOR_QUEUE)

    def kind(self, step: str) -> Any:
        """Return the kind of a step without a job; None for one that is a job."""
        return None if self.steps[step].job else kinds.get(self.steps[step].kind)

    def work(self, step: str, item: int) -> Work:
        """Return what a step is to do. Raises Invalid for a reference to an output that is not there."""
        return Work(
            actor=self.actor,
            tenant_id=self.run.tenant_id,
            project_id=self.run.project_id,
            run_id=self.run.id,
            person=self.run.person,
            pipeline=self.run.pipeline.name,
            step=step,
            body=self._resolved(self.steps[step].body, self.steps[step], item, self._tries()),
            states=self.states,
        )

    def _tries(self) -> list[Try]:
        names = ("step", "item", "number", "state", "outputs", "final", "set_aside")
        return [Try(**row) for row in StepTry.objects.filter(run=self.run).order_by("id").values(*names)]

    def _place(self, launch: Launch) -> int:
        """Return the place of a step's item among all, from 1; a job that is tried again has the place of the one before."""
        before = itertools.takewhile(lambda step: step.name != launch.step, self.steps.values())
        return sum(len(step.items) for step in before) + launch.item + 1

    def _room(self) -> int:
        most = settings.EXCHEQUER.queued_jobs
        return most - Job.objects.filter(state=JobState.QUEUED)[:most].count() if most else UNLIMITED

    def _follow(self) -> None:
        """Note the ends of jobs, and go on with other steps that were not done."""
        for one in StepTry.objects.filter(run=self.run, state=TryState.RUNNING).select_related("job").order_by("id"):
            if one.job is not None:
                ended = step_jobs.ended(one.job)
                if ended:
                    _store(one, **ended)
                continue
            try:
                with transaction.atomic():
                    done = self.kind(one.step).follow(self.work(one.step, one.item), one.outputs)
            except RateLimited:
                continue
            except ExchequerError as error:
                _store(one, state=TryState.FAILED, message=error.message[:500], final=True)
                continue
            _store(one, **_kept(done))

    def _begin(self, launch: Launch) -> bool:
        """Begin a try; return False if the queue, or the cap while jobs run, has no room for it."""
        row = StepTry(run=self.run, step=launch.step, item=launch.item, number=launch.number)
        step = self.steps[launch.step]
        try:
            with transaction.atomic():
                row.save(force_insert=True)
                work = self.work(launch.step, launch.item)
                if step.job:
                    row.job_id = step_jobs.submit(self.run, step, work, self._place(launch)).id
                    row.save(update_fields=["job"])
                else:
                    _store(row, **_kept(kinds.get(step.kind).begin(work)))
        except RateLimited:
            return False
        except ExchequerError as error:
            row = StepTry(run=self.run, step=launch.step, item=launch.item, number=launch.number)
            row.save(force_insert=True)
            _store(row, state=TryState.FAILED, message=error.message[:500], final=True)
        return True

    def _resolved(self, value: Any, step: Step, item: int, tries: list[Try]) -> Any:
        if isinstance(value, Mapping):
            if set(value) == {"item"}:
                return step.items[item]
            if set(value) == {"from", "output"}:
                return self._output(Reference(value["from"], value["output"]), tries)
            return {name: self._resolved(one, step, item, tries) for name, one in value.items()}
        if isinstance(value, list):
            return [self._resolved(one, step, item, tries) for one in value]
        return value

    def _output(self, of: Reference, tries: list[Try]) -> Any:
        try:
            return plan.read(plan.outputs_of(self.steps[of.step], tries), of.output)
        except KeyError:
            raise Invalid(f"The step {of.step} has no output {of.output[:60]}.") from None

    def _why(self, end: str) -> str:
        """Return which step failed the run, and why; empty for a run that succeeded."""
        if end == RunState.SUCCEEDED:
            return ""
        failed = StepTry.objects.filter(run=self.run, state=TryState.FAILED, set_aside=False).order_by("-id").first()
        return f"{failed.step}: {failed.message}"[:500] if failed else "A step failed."

    def _note(self, reason: str) -> None:
        if self.run.reason != reason:
            PipelineRun.objects.filter(id=self.run.id).update(reason=reason)

    def _system(self) -> Actor:
        return Actor.system(self.run.tenant_id, "pipelines")


@operation(RUN_ENDED)
def _end(*, actor: Actor, run: PipelineRun, state: RunState, reason: str) -> None:
    note_end(run, state, reason)
    target = ("pipelinerun", run.id, run.pipeline.name)
    record(RUN_ENDED, actor=actor, target=target, changes={"state": [run.state, str(state)]}, reason=reason)
    if state == RunState.FAILED and run.person is not None:
        title, path = f"Pipeline {run.pipeline.name} failed", f"pipelines/runs/{run.id}/"
        notifications.notify_person(run.person, kind=FAILED, title=title, body=reason, path=path)


def note_end(run: PipelineRun, state: RunState, reason: str = "") -> None:
    """Store and publish the end of a locked run, inside the operation of its caller; its job set ends with it."""
    PipelineRun.objects.filter(id=run.id).update(state=state, reason=reason, ended_at=DatabaseNow())
    ending.end_with_run(run.set_id)
    publish(PipelineRunEnded(tenant_id=run.tenant_id, run_id=run.id, state=str(state)))


def _kept(done: kinds.Result) -> dict[str, Any]:
    state = TryState.SUCCEEDED if done.done else TryState.RUNNING
    return {"state": state, "outputs": done.outputs, "message": done.note[:500]}


def _store(row: StepTry, **fields: Any) -> None:
    if fields.get("state", TryState.RUNNING) != TryState.RUNNING:
        fields["ended_at"] = DatabaseNow()
    StepTry.objects.filter(id=row.id).update(**fields)
