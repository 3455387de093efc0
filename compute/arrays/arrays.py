"""Operations of people on job arrays: launch, cancel, run the failed ones again. Each is audited."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Exists, OuterRef

from compute.arrays import grid
from compute.jobs import jobs
from compute.jobs.job_request import Submission
from compute.jobs.visibility import visible_jobs
from compute.models import FINAL_STATES, Job, JobSet, JobState
from compute.sets import ending
from compute.sets.opening import JOB_SET_LAUNCHED, Member, Opening, open_set
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import DatabaseNow
from tenants.errors import Conflict, Invalid, NotFound
from tenants.identity import creators
from tenants.projects.sight import project_fault

JOB_SET_CANCELLED = AuditAction("compute.job_set.cancelled", while_closing=True)
JOB_SET_RETRIED = AuditAction("compute.job_set.retried")
AGAIN = (JobState.FAILED, JobState.CANCELLED)


class NothingFailed(Conflict):
    """No job of this set failed or was cancelled. Launch a new set to run more."""

    code = "job_set_nothing_failed"


class OfPipelineRun(Conflict):
    """These jobs are steps of a pipeline's run. Cancel or retry the run, under Pipelines."""

    code = "job_set_of_pipeline_run"


@operation(JOB_SET_LAUNCHED)
def launch(
    *, actor: Actor, asked: Submission, vary: Any, cap: Decimal | None = None, most_at_once: int | None = None
) -> JobSet:
    """Submit one job for each point of a grid, under one cap; all of them or none.

    `vary`: lists of values by the dotted path of what they replace in the specification. Raises Invalid, SetCapReached, and
    what `jobs.submit` raises.
    """
    actor.require_somewhere("jobs.launch")
    creators.lock_creator(actor)
    if asked.quote_id is not None or asked.more is not None:
        raise Invalid(fields={"vary": ["An array takes no quote and no request for more. Leave them out."]})
    if fault := project_fault(actor, "jobs.launch", asked.project_id):
        raise Invalid(fields={"project": [fault]})
    specs = grid.points(asked.spec, vary)
    opening = Opening(
        kind="array",
        project_id=asked.project_id,
        name=asked.name,
        cap=cap,
        most_at_once=most_at_once,
        varied=tuple(vary),
    )
    made = open_set(actor=actor, asked=opening)
    for index, spec in enumerate(specs, 1):
        name = f"{made.name[:110]} {index}"
        jobs.submit(actor=actor, asked=replace(asked, name=name, spec=spec), member=Member(made.id, index))
    return made


@operation(JOB_SET_CANCELLED)
def cancel(*, actor: Actor, set_id: UUID) -> JobSet:
    """Cancel each job of a set that has not ended. Raises NotFound, OfPipelineRun, PermissionDenied."""
    actor.require_somewhere("jobs.cancel")
    found = _visible(actor, set_id)
    open_ones = Job.objects.filter(set_id=set_id).exclude(state__in=FINAL_STATES).order_by("id")
    locked = list(open_ones.select_for_update(no_key=True).values_list("id", flat=True))
    if not locked:
        unchanged("its jobs have ended")
        return found
    for job_id in locked:
        with suppress(jobs.JobIsFinal):  # it ended meanwhile
            jobs.cancel(actor=actor, job_id=job_id, reason=f"its job set {found.name} was cancelled")
    JobSet.objects.filter(id=set_id).update(cancelled_at=DatabaseNow())
    record(
        JOB_SET_CANCELLED, actor=actor, target=("job_set", found.id, found.name), changes={"jobs": [None, len(locked)]}
    )
    return found


@operation(JOB_SET_RETRIED)
def retry_failed(*, actor: Actor, set_id: UUID) -> JobSet:
    """Launch the jobs of a set again that failed or were cancelled, under the same cap. Raises NotFound, NothingFailed,
    OfPipelineRun, and what `jobs.submit` raises.
    """
    actor.require_somewhere("jobs.launch")
    creators.lock_creator(actor)
    found = _visible(actor, set_id)
    JobSet.objects.select_for_update(no_key=True).get(id=set_id)  # two people at once launch each job once
    again = failed(actor, set_id)
    if not again:
        raise NothingFailed
    for job in again:
        jobs.clone(actor=actor, job_id=job.id, member=Member(set_id, job.set_index or 0))
    ending.reopen(set_id)
    record(JOB_SET_RETRIED, actor=actor, target=("job_set", found.id, found.name), changes={"jobs": [None, len(again)]})
    return found


def failed(actor: Actor, set_id: UUID) -> Sequence[Job]:
    """Return the jobs of a set that failed or were cancelled and were not run again, in their order."""
    later = Job.objects.filter(set_id=set_id, set_index=OuterRef("set_index"), id__gt=OuterRef("id"))
    rows = visible_jobs(actor).filter(set_id=set_id, state__in=AGAIN).exclude(Exists(later))
    return list(rows.order_by("set_index"))


def _visible(actor: Actor, set_id: UUID) -> JobSet:
    """Return an array of which the actor sees a job. Raises NotFound, OfPipelineRun."""
    seen = visible_jobs(actor).filter(set_id=OuterRef("id"))
    found = JobSet.objects.filter(Exists(seen), id=set_id).first()
    if found is None:
        raise NotFound
    if found.kind != "array":
        raise OfPipelineRun
    return found
