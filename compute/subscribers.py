"""Subscribers of this app to events of other apps."""

from __future__ import annotations

from compute.jobs import jobs
from compute.models import Job, JobState
from tenants.access.actor import Actor
from tenants.events.events import StandingChanged, subscribe

OPEN = (JobState.QUEUED, JobState.RUNNING, JobState.PAUSED)


@subscribe(StandingChanged)
def cancel_jobs_of_the_closed(event: StandingChanged) -> None:
    """Cancel what is left of a closed tenant's jobs: what runs, what waits, and what its budget paused."""
    if event.standing != "closed":
        return
    system = Actor.system(event.tenant_id, "operator")
    for job_id in Job.objects.filter(state__in=OPEN).order_by("id").values_list("id", flat=True):
        jobs.cancel(actor=system, job_id=job_id, reason="The organisation was closed.")
