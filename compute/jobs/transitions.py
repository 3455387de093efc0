"""The only place that changes a job's state after submission, and releases its money and quota.

Lock order in this app, for new and existing work: job, attempt, the tenant's set of budgets (shared), device, hold,
counters of budgets, quota, audit chain last. A new job's row is visible to nobody else, so it can be inserted at any
time.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.db.models import F

from billing.budgets import holds
from billing.metering.metering import waive_usage
from compute import holding, kinds
from compute.events import JobEnded
from compute.jobs import job_quotas, outcomes
from compute.models import FINAL_STATES, Attempt, AttemptState, Device, DeviceState, Job, JobState, Outcome
from tenants.access.actor import Actor
from tenants.audit import AuditAction, record
from tenants.clock import DatabaseNow, now
from tenants.events.events import publish

JOB_STARTED = AuditAction("compute.job.started")
JOB_REQUEUED = AuditAction("compute.job.requeued")
JOB_PAUSED = AuditAction("compute.job.paused", while_closing=True)
JOB_RESUMED = AuditAction("compute.job.resumed")
JOB_CANCELLED = AuditAction("compute.job.cancelled", while_closing=True)
JOB_ENDED = AuditAction("compute.job.ended")
ATTEMPT_ENDED = AuditAction("compute.attempt.ended")

_ACTIONS = {
    JobState.RUNNING: JOB_STARTED,
    JobState.QUEUED: JOB_REQUEUED,
    JobState.PAUSED: JOB_PAUSED,
    JobState.CANCELLED: JOB_CANCELLED,
}


def lock(job_id: UUID) -> Job | None:
    """Return the job of the open scope under its row lock, or None."""
    return Job.objects.select_for_update(no_key=True).filter(id=job_id).first()


def view(job: Job, attempt: Attempt | None = None) -> kinds.JobView:
    """Return the job in the form for its kind."""
    return kinds.JobView(
        id=job.id,
        tenant_id=job.tenant_id,
        project_id=job.project_id,
        name=job.name,
        kind=job.kind,
        spec=job.spec,
        tags=job.tags,
        device_class=job.device_class,
        submitted_by=job.submitted_by,
        checkpoint=job.checkpoint,
        result=job.result,
        token=attempt.token if attempt else job.token,
        attempt_id=attempt.id if attempt else None,
    )


def move(
    job: Job,
    state: str,
    *,
    actor: Actor,
    cause: str = "",
    reason: str = "",
    action: AuditAction | None = None,
    **fields: Any,
) -> None:
    """Change a locked job's state with its audit entry; publish a final state.

    Raises ValueError if the job is final; the database's trigger would refuse it too.
    """
    if job.state in FINAL_STATES:
        raise ValueError(f"job {job.id} is {job.state} for ever")
    before = [job.state, job.cause]
    final = state in FINAL_STATES
    changes = {"state": state, "cause": cause, **fields}
    if final:
        changes["ended_at"] = DatabaseNow()
    Job.objects.filter(id=job.id).update(**changes)
    job.state, job.cause = state, cause
    for name, value in fields.items():
        setattr(job, name, value)
    shown = {"state": [before[0], state]} | ({"cause": [before[1], cause]} if cause or before[1] else {})
    record(
        action or (_ACTIONS.get(JobState(state)) or JOB_ENDED),
        actor=actor,
        target=("job", job.id, job.name),
        changes=shown,
        reason=reason,
    )
    if final:
        publish(JobEnded(tenant_id=job.tenant_id, job_id=job.id, state=state, cause=cause))


def end_attempt(
    job: Job,
    attempt: Attempt,
    outcome: Outcome,
    *,
    actor: Actor,
    message: str = "",
    exit_code: int | None = None,
    elsewhere: bool = False,
) -> None:
    """End a locked, live attempt of a locked job, free its devices and move the job to `outcomes.next_state`.

    Costs of a platform failure are waived, and what the job no longer needs is released. Success also needs
    `Job.result`, which the caller sets before.
    """
    Attempt.objects.filter(id=attempt.id).update(
        state=AttemptState.ENDED, outcome=outcome, message=message[:2000], exit_code=exit_code, ended_at=DatabaseNow()
    )
    holding.free(attempt.id)
    history = outcomes.AttemptHistory(job.state, job.own_crashes, job.infrastructure_kills, elsewhere)
    following = outcomes.next_state(outcome, history)
    label = f"{job.name}, attempt {attempt.token} on {attempt.device_name}"
    record(
        ATTEMPT_ENDED,
        actor=actor,
        target=("attempt", attempt.id, label),
        changes={"outcome": ["", str(outcome)]},
        reason=message,
    )
    if following is None and outcome == Outcome.CRASHED and job.state not in FINAL_STATES:
        grow(job, own_crashes=1)  # a pause meanwhile keeps the job's state and forgives no crash
    if following is not None:
        wait = outcomes.backoff_s(following.backoff)
        move(
            job,
            following.state,
            actor=actor,
            cause=following.cause,
            reason=message if following.state != JobState.SUCCEEDED else "",
            message=message[:2000] if following.cause else "",
            own_crashes=following.own_crashes,
            infrastructure_kills=following.infrastructure_kills,
            not_before=now() + timedelta(seconds=wait) if wait and following.state == JobState.QUEUED else None,
            progress={**job.progress, "phase": "waiting"} if following.state == JobState.QUEUED else job.progress,
        )
    rests = _rests(job)
    if rests:
        _release_hold(job)
    waive_platform(job, attempt, outcome, message)  # money before quota, as at a launch
    job_quotas.release(job, rests=rests)


def waive_platform(job: Job, attempt: Attempt, outcome: Outcome, message: str) -> None:
    """Waive the cost of a platform failure: this attempt's seconds, or all of them if the job failed by it.

    Waived amounts are not spent: a cost limit counts net charges. Measurements stay.
    """
    if job.state == JobState.FAILED and job.cause == "platform":
        attempts = list(Attempt.objects.filter(job_id=job.id, seq__gt=0).values_list("id", flat=True))
    else:
        attempts = [attempt.id] if outcome in {Outcome.PLATFORM, Outcome.DISK_FULL} else []
    waived = waive_usage(*attempts, reason=message or "The platform could not run this job.")
    if waived:
        grow(job, spent=-waived)


def give_back(job: Job) -> None:
    """Release held money and quota of a locked job that neither waits nor runs and has no live attempt."""
    if _rests(job):
        _release_hold(job)
        job_quotas.release(job, rests=True)


def _rests(job: Job) -> bool:
    if job.state in {JobState.QUEUED, JobState.RUNNING}:
        return False
    return not Attempt.objects.filter(job_id=job.id).exclude(state=AttemptState.ENDED).exists()


def _release_hold(job: Job) -> None:
    if job.hold_id is not None:
        holds.release(hold_id=job.hold_id)
        Job.objects.filter(id=job.id).update(hold_id=None)
        job.hold_id = None


def cordon(device_id: UUID, reason: str) -> None:
    """Take a device out of service until an operator returns it."""
    Device.objects.filter(id=device_id).exclude(state=DeviceState.CORDONED).update(
        state=DeviceState.CORDONED, state_reason=reason[:400], state_at=DatabaseNow()
    )


def grow(job: Job, **amounts: Any) -> None:
    """Increase counters of a locked job."""
    Job.objects.filter(id=job.id).update(**{name: F(name) + amount for name, amount in amounts.items()})
    for name, amount in amounts.items():
        setattr(job, name, getattr(job, name) + amount)
