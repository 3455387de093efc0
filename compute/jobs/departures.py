"""Open jobs of a departing member: their number, and their cancellation or new owner."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from uuid import UUID

from django.db.models import Case, Count, When

from compute.jobs import jobs, transitions
from compute.jobs.visibility import visible_jobs
from compute.models import FINAL_STATES, Job
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.errors import Invalid
from tenants.identity.departures import OpenWork

JOB_HANDED_OVER = AuditAction("compute.job.handed_over")


class Jobs:
    """Jobs, in the interface of `tenants.identity.departures`, in the open scope."""

    def count(self, submitters: Sequence[UUID]) -> dict[str, int]:
        """Return the number of running, queued and paused jobs."""
        rows = Job.objects.filter(submitted_by__in=submitters).exclude(state__in=FINAL_STATES).order_by()
        counts = dict(rows.values_list("state").annotate(number=Count("id")))
        return {state: counts.get(state, 0) for state in ("running", "queued", "paused")}

    def named(self, submitters: Sequence[UUID], most: int) -> list[OpenWork]:
        """Return up to so many of them that the reader may see, running ones first, the oldest of a state first."""
        rows = visible_jobs().filter(submitted_by__in=submitters).exclude(state__in=FINAL_STATES)
        rows = rows.order_by(Case(When(state="running", then=0), default=1), "id")
        return [
            OpenWork(id=row_id, name=name, state=state, page="job")
            for row_id, name, state in rows.values_list("id", "name", "state")[:most]
        ]

    def cancel(self, *, actor: Actor, submitters: Sequence[UUID], reason: str) -> None:
        """Cancel them one by one. Raises PermissionDenied."""
        for job_id in _open(submitters):
            with contextlib.suppress(jobs.JobIsFinal):  # it ended meanwhile
                jobs.cancel(actor=actor, job_id=job_id, reason=reason)

    def hand_over(self, *, actor: Actor, submitters: Sequence[UUID], to: Actor) -> None:
        """Transfer them to a member who may launch jobs. Raises PermissionDenied, Invalid."""
        actor.require("jobs.cancel_any")
        if not to.can("jobs.launch"):
            raise Invalid(fields={"jobs": [f"{to.label} may not launch jobs. Choose a member who may."]})
        open_ones = _open(submitters)
        if visible_jobs(to).filter(id__in=open_ones).count() < len(open_ones):
            raise Invalid(
                fields={"jobs": [f"Some of the jobs are hidden from {to.label}. Choose a member who sees them."]}
            )
        for job_id in open_ones:
            _hand_over(actor=actor, job_id=job_id, to=to)


def _open(submitters: Sequence[UUID]) -> list[UUID]:
    rows = Job.objects.filter(submitted_by__in=submitters).exclude(state__in=FINAL_STATES)
    return list(rows.order_by("id").values_list("id", flat=True))


@operation(JOB_HANDED_OVER)
def _hand_over(*, actor: Actor, job_id: UUID, to: Actor) -> None:
    job = transitions.lock(job_id)
    if job is None or job.state in FINAL_STATES:
        unchanged("it ended meanwhile")
        return
    Job.objects.filter(id=job.id).update(submitted_by=to.id, submitted_by_label=to.label)
    changes = {"submitted_by": [job.submitted_by_label, to.label]}
    record(JOB_HANDED_OVER, actor=actor, target=("job", job.id, job.name), changes=changes)
