"""How many jobs of a set run at the same time."""

from __future__ import annotations

from compute.models import Job, JobSet, JobState


def may_start(job: Job) -> bool:
    """Return whether one more job of its set may run now, by the set's limit at once; the set stays locked until then."""
    if job.set_id is None:
        return True
    limited = JobSet.objects.select_for_update(no_key=True).filter(id=job.set_id, most_at_once__isnull=False)
    most = limited.values_list("most_at_once", flat=True).first()
    return most is None or Job.objects.filter(set_id=job.set_id, state=JobState.RUNNING).count() < most


def full_at(job: Job) -> int | None:
    """Return how many jobs of a waiting job's set run at once at most, if so many do; None if it does not wait for them."""
    if job.set_id is None:
        return None
    most = JobSet.objects.filter(id=job.set_id).values_list("most_at_once", flat=True).first()
    if most is None:
        return None
    return most if Job.objects.filter(set_id=job.set_id, state=JobState.RUNNING).count() >= most else None
