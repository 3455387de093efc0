"""The state of a job set, which is that of its jobs."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from django.db.models import Count, Exists, OuterRef

from compute.models import Job, JobState

OPEN = (JobState.RUNNING, JobState.QUEUED, JobState.PAUSED)
ENDED = (JobState.FAILED, JobState.CANCELLED, JobState.SUCCEEDED)


def counted(set_id: UUID) -> dict[str, int]:
    """Return how many jobs of a set are in each state, without those that were run again, hidden ones too."""
    later = Job.objects.filter(set_id=set_id, set_index=OuterRef("set_index"), id__gt=OuterRef("id"))
    rows = Job.objects.filter(set_id=set_id).exclude(Exists(later)).order_by().values("state")
    return {row["state"]: row["number"] for row in rows.annotate(number=Count("id"))}


def state_of(jobs: Mapping[str, int]) -> str:
    """Return the state of a set from the number of its jobs in each state: of several, the first of OPEN and ENDED."""
    return next((state for state in (*OPEN, *ENDED) if jobs.get(state)), JobState.SUCCEEDED)
