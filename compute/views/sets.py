"""Job sets: their list, and one with its jobs, what differs between them, and what they cost."""

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from compute.arrays import arrays
from compute.queries import sets
from tenants.web.pagination import before, paged
from tenants.web.requests import TenantRequest
from tenants.web.views import page

PAGE = 50


@require_safe
@page("jobs.view")
def job_sets(request: TenantRequest) -> HttpResponse:
    """List job sets, newest first."""
    rows = sets.set_list(before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    return render(request, "compute/job_sets.html", {"sets": shown, **links})


@require_safe
@page("jobs.view")
def job_set(request: TenantRequest, job_set_id: UUID) -> HttpResponse:
    """Show a set and its jobs."""
    found = sets.set_detail(job_set_id)
    rows = sets.members(job_set_id, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    metrics = sorted({name for row in shown for name in row.metrics})[:3]
    context = {
        "set": found,
        "members": [(row, [row.metrics.get(name) for name in metrics]) for row in shown],
        "metrics": metrics,
        "best": sets.best(job_set_id),
        "can_cancel": found.is_array and found.is_open and request.actor.can_somewhere("jobs.cancel"),
        "can_retry": found.can_retry and request.actor.can_somewhere("jobs.launch"),
        **links,
    }
    return render(request, "compute/job_set.html", context)


@require_POST
@page("jobs.cancel")
def job_set_cancel(request: TenantRequest, job_set_id: UUID) -> HttpResponse:
    """Cancel what has not ended of a set, and redirect to its page."""
    arrays.cancel(actor=request.actor, set_id=job_set_id)
    messages.success(request, "Cancelled. You pay for the seconds until its jobs stop.")
    return redirect("job-set", request.tenant.slug, job_set_id)


@require_POST
@page("jobs.launch")
def job_set_retry(request: TenantRequest, job_set_id: UUID) -> HttpResponse:
    """Run the failed jobs of a set again, and redirect to its page."""
    arrays.retry_failed(actor=request.actor, set_id=job_set_id)
    messages.success(request, "Launched again, under the same cap.")
    return redirect("job-set", request.tenant.slug, job_set_id)
