"""Limit on the waiting jobs of one organisation; further submissions are refused with a time to retry."""

from __future__ import annotations

from django.conf import settings

from compute.models import Job, JobState
from tenants.errors import RateLimited

RETRY_AFTER_S = 30


class QueueFull(RateLimited):
    """The maximum number of jobs of this organisation is waiting. Try again when some have started, or cancel some."""

    code = "queue_full"


def admit() -> None:
    """Raise QueueFull if the tenant of the open scope has reached its limit of queued jobs.

    Exact once the caller has reserved its device time, because that serialises launches for one device class.
    """
    most = settings.EXCHEQUER.queued_jobs
    if most and Job.objects.filter(state=JobState.QUEUED)[most - 1 : most].exists():
        raise QueueFull(
            f"{most} jobs of this organisation are waiting, which is the maximum. Try again when some have started, or cancel some.",
            most=most,
            retry_after=RETRY_AFTER_S,
        )
