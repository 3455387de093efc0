"""Limit on the waiting jobs of one organisation; further submissions are refused with a time to retry."""

from __future__ import annotations

from django.conf import settings

from compute.models import Job, JobState
from tenants.errors import RateLimited
from tenants.isolation import limits

RETRY_AFTER_S = 30


class QueueFull(RateLimited):
    """The maximum number of jobs of this organisation is waiting. Try again when some have started, or cancel some."""

    code = "queue_full"


def admit(*, early: bool = False) -> None:
    """Raise QueueFull if the tenant of the open scope has reached its limit of queued jobs.

    `early` waits for nobody: launches at once may all pass, and meet again at the call right before the job is queued.
    """
    most = settings.EXCHEQUER.queued_jobs
    queued = Job.objects.filter(state=JobState.QUEUED)
    if most and (queued[most - 1 : most].exists() if early else limits.is_full(queued, most)):
        raise QueueFull(
            f"{most} jobs of this organisation are waiting, which is the maximum. Try again when some have started, or cancel some.",
            most=most,
            retry_after=RETRY_AFTER_S,
        )
