"""The sweep of kept launches: requests that expired, and answers whose event was lost (control role)."""

from __future__ import annotations

from compute.jobs.kept import answered
from compute.models import Job, JobState
from tenants.approvals.queries import answer_to
from tenants.isolation import sweeps
from tenants.isolation.scoping import all_tenants, tenant_scope


def sweep() -> int:
    """Start or cancel the launches whose requests are no longer open; return how many requests are waited for.

    A failure of one stops no other, and is raised at the end (SweepFailed).
    """
    with all_tenants("requests expire in every tenant"):
        kept = Job.objects.filter(state=JobState.QUEUED, approval_id__isnull=False).order_by("approval_id")
        waiting = list(kept.values_list("tenant_id", "approval_id").distinct())
    with sweeps.sweep("kept launches") as each:
        for tenant_id, approval_id in each.over(waiting):
            with each(tenant=tenant_id, approval=approval_id), tenant_scope(tenant_id):
                state = answer_to(approval_id) if approval_id else "open"
                if approval_id and state != "open":
                    answered(approval_id, state)
    return len(waiting)
