"""How many jobs of one organisation may wait at once: whoever submits more is told when to try again."""

from __future__ import annotations

from django.conf import settings

from compute.models import Job, JobState
from tenants.errors import RateLimited

RETRY_AFTER_S = 30


class QueueFull(RateLimited):
    """As many jobs of this organisation wait as may. Try again once some have started, or cancel some that wait."""

    code = "queue_full"


def admit() -> None:
    """Raise QueueFull when the tenant of the open scope has as many queued jobs as may wait.

    Exact where the caller has reserved its quota, since those who launch for one device class take turns there.
    """
    most = settings.EXCHEQUER.queued_jobs
    if most and Job.objects.filter(state=JobState.QUEUED)[most - 1 : most].exists():
        raise QueueFull(
            f"{most} jobs of this organisation wait, which is the most that may. "
            "Try again once some have started, or cancel some that wait.",
            most=most,
            retry_after=RETRY_AFTER_S,
        )
