"""Subscribers of this app to events of other apps."""

from __future__ import annotations

from compute.events import JobEnded, JobIdle, JobSetEnded, JobStarted
from compute.jobs import jobs, kept
from compute.jobs.visibility import visible_jobs
from compute.models import Job, JobState
from compute.sets import ending
from tenants.access.actor import Actor
from tenants.currencies import money_text
from tenants.events.events import ApprovalAnswered, StandingChanged, subscribe
from tenants.identity.authentication import actor_today
from tenants.notifications import notifications, topics
from tenants.webhooks.catalogue import EventType, Fact, register

#: The kind of the notification, by the state in which a job ended. A cancelled job surprises nobody.
NOTIFIED = {"succeeded": "job_succeeded", "failed": "job_failed"}
OPEN = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)


@subscribe(StandingChanged)
def cancel_jobs_of_the_closed(event: StandingChanged) -> None:
    """Cancel what is left of a closed tenant's jobs: what runs, what waits, and what its budget paused."""
    if event.standing != "closed":
        return
    system = Actor.system(event.tenant_id, "operator")
    for job_id in Job.objects.filter(state__in=OPEN).order_by("id").values_list("id", flat=True):
        jobs.cancel(actor=system, job_id=job_id, reason="The organisation was closed.")


@subscribe(ApprovalAnswered)
def follow_answers(event: ApprovalAnswered) -> None:
    """Start or cancel the launches that waited for this answer."""
    kept.answered(event.approval_id, event.state)


@subscribe(JobEnded)
def end_its_set(event: JobEnded) -> None:
    """End the array of a job that ended, if it was the last one."""
    set_id = Job.objects.filter(id=event.job_id).values_list("set_id", flat=True).first()
    if set_id is not None:
        ending.end_array(set_id)


@subscribe(JobEnded)
def notify_of_own(event: JobEnded) -> None:
    """Notify the person behind a job that succeeded or failed, if they chose it and still see the job."""
    kind = NOTIFIED.get(event.state)
    person = Job.objects.filter(id=event.job_id).values_list("person", flat=True).first() if kind else None
    if kind is None or person is None or topics.ways_of([person], kind)[person] == topics.OFF:
        return
    job = visible_jobs(actor_today(event.tenant_id, person)).filter(id=event.job_id).first()
    if job is not None:
        title, path = f"Job {job.name or job.id} {event.state}", f"jobs/{job.id}/"
        notifications.notify_person(person, kind=kind, title=title, body=job.message[:500], path=path)


@subscribe(JobIdle)
def warn_of_idle(event: JobIdle) -> None:
    """Notify the person behind a job whose devices do nothing, with the money that is lost, if they still see the job."""
    person = Job.objects.filter(id=event.job_id).values_list("person", flat=True).first()
    if person is None:
        return
    job = visible_jobs(actor_today(event.tenant_id, person)).filter(id=event.job_id, state=JobState.RUNNING).first()
    if job is not None:
        lost, hourly = (money_text(amount, event.currency) for amount in (event.lost, event.per_hour))
        body = (
            f"Its devices do nothing. That has cost {lost}, and costs {hourly} an hour. The job stops with a checkpoint "
            "unless it works again, or you snooze it on its page."
        )
        notifications.notify_person(
            person, kind="job_idle", title=f"Job {job.name or job.id} is idle", body=body, path=f"jobs/{job.id}/"
        )


def _job_idle(event: JobIdle) -> Fact:
    data = {
        "idle_since": event.idle_since,
        "stops_at": event.stops_at,
        "lost": str(event.lost),
        "per_hour": str(event.per_hour),
        "currency": event.currency,
    }
    return Fact(type="job.idle", kind="job", id=event.job_id, path=f"jobs/{event.job_id}/", data=data)


def _job_ended(event: JobEnded) -> Fact:
    data = {"state": event.state} | ({"cause": event.cause} if event.cause else {})
    return Fact(type=f"job.{event.state}", kind="job", id=event.job_id, path=f"jobs/{event.job_id}/", data=data)


def _set_ended(event: JobSetEnded) -> Fact:
    data = {"state": event.state, "jobs": event.jobs}
    return Fact(type="job_set.ended", kind="job_set", id=event.set_id, path=f"job-sets/{event.set_id}/", data=data)


register(
    JobStarted,
    EventType("job.started", "A job started"),
    describe=lambda event: Fact(type="job.started", kind="job", id=event.job_id, path=f"jobs/{event.job_id}/"),
)
register(
    JobIdle,
    EventType("job.idle", "A running job does nothing, and will be stopped", reads="jobs.view"),
    describe=_job_idle,
)
register(
    JobEnded,
    EventType("job.succeeded", "A job succeeded"),
    EventType("job.failed", "A job failed"),
    EventType("job.cancelled", "A job was cancelled"),
    describe=_job_ended,
)
register(JobSetEnded, EventType("job_set.ended", "All jobs of a job set have ended"), describe=_set_ended)
