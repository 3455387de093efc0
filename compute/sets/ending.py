"""The end of a job set: noted and published once, when its last job has ended; a retry opens it again."""

from __future__ import annotations

from uuid import UUID

from compute.events import JobSetEnded
from compute.models import FINAL_STATES, Job, JobSet
from compute.sets.states import counted, state_of
from tenants.clock import DatabaseNow
from tenants.events.events import publish


def end_array(set_id: UUID) -> None:
    """End an array whose jobs have all ended; nothing for another set, and for one that has ended.

    Its row is locked, as by a retry: of the last jobs that end at once, the second finds it ended.
    """
    found = JobSet.objects.select_for_update(no_key=True).filter(id=set_id, kind="array", ended_at=None).first()
    if found is not None and not Job.objects.filter(set_id=set_id).exclude(state__in=FINAL_STATES).exists():
        _end(found)


def end_with_run(set_id: UUID) -> None:
    """End the set of a pipeline's run, in the transaction that ends the run under its lock."""
    _end(JobSet.objects.get(id=set_id))


def reopen(set_id: UUID) -> None:
    """Note that a locked set, or that of a locked run, goes on."""
    JobSet.objects.filter(id=set_id).update(ended_at=None, cancelled_at=None)


def _end(found: JobSet) -> None:
    JobSet.objects.filter(id=found.id).update(ended_at=DatabaseNow())
    jobs = counted(found.id)
    publish(JobSetEnded(tenant_id=found.tenant_id, set_id=found.id, state=state_of(jobs), jobs=jobs))
