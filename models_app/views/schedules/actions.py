"""Buttons of a schedule's page."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from models_app.schedules import schedules
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_POST
@page("jobs.launch")
def schedule_pause(request: TenantRequest, schedule_id: UUID) -> HttpResponse:
    """Pause a schedule and show it."""
    schedules.pause(actor=request.actor, schedule_id=schedule_id)
    messages.success(request, "Paused. What runs goes on.")
    return redirect("schedule", request.tenant.slug, schedule_id)


@require_POST
@page("jobs.launch")
def schedule_resume(request: TenantRequest, schedule_id: UUID) -> HttpResponse:
    """Resume a schedule and show it."""
    schedules.resume(actor=request.actor, schedule_id=schedule_id)
    messages.success(request, "Resumed with your rights. It launches from the next time on.")
    return redirect("schedule", request.tenant.slug, schedule_id)


@require_POST
@page("jobs.launch")
def schedule_run(request: TenantRequest, schedule_id: UUID) -> HttpResponse:
    """Launch what a schedule launches, and show the job or the run."""
    run = schedules.launch_now(actor=request.actor, schedule_id=schedule_id)
    messages.success(request, "Launched. The schedule's times stay as they are.")
    if run.job_id is not None:
        return redirect("job", request.tenant.slug, run.job_id)
    return redirect("pipeline-run", request.tenant.slug, run.pipeline_run_id)


@require_POST
@page("jobs.launch")
def schedule_remove(request: TenantRequest, schedule_id: UUID) -> HttpResponse:
    """Remove a schedule and show the list."""
    schedules.remove(actor=request.actor, schedule_id=schedule_id)
    messages.success(request, "Removed. What it launched stays.")
    return redirect("schedules", request.tenant.slug)
