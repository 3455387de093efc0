"""Pages of schedules: the list, the form with its preview, and one schedule with what came of its ticks."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from models_app.forms.schedules import MISSED, OVERLAP, ScheduleForm
from models_app.schedules import reading, schedules, times
from tenants.clock import now
from tenants.web.form_posts import once
from tenants.web.pagination import before, paged
from tenants.web.requests import TenantRequest
from tenants.web.views import page

PAGE = 50
PREVIEWED = 5


@require_safe
@page("jobs.view")
def schedule_list(request: TenantRequest) -> HttpResponse:
    """List schedules, newest first."""
    rows = reading.schedule_list(request.actor, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    context = {"schedules": shown, "can_launch": request.actor.can_somewhere("jobs.launch"), **links}
    return render(request, "models_app/schedules.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page("jobs.launch")
def schedule_new(request: TenantRequest) -> HttpResponse:
    """Show the form, with the preset or the pipeline that the address names chosen, or save a schedule."""
    named = [f"{kind}:{request.GET[kind]}" for kind in schedules.TARGETS if request.GET.get(kind)]
    started = {"zone": request.tenant.timezone, "launches": "".join(named[:1])}

    def act(wanted: dict[str, Any]) -> str:
        made = schedules.create(actor=request.actor, wanted=wanted)
        messages.success(request, f"{made.name} saved.")
        return reverse("schedule", args=(request.tenant.slug, made.id))

    return _form(request, started, act, {"schedule": None})


@require_http_methods(["GET", "HEAD", "POST"])
@page("jobs.launch")
def schedule_change(request: TenantRequest, schedule_id: UUID) -> HttpResponse:
    """Show the form of a schedule, or change it."""
    row = reading.schedule(request.actor, schedule_id)
    request.actor.require("jobs.launch", row)
    target = f"preset:{row.preset_id}" if row.preset_id else f"pipeline:{row.pipeline_id}"
    started = {name: getattr(row, name) for name in schedules.TEXTS} | {"launches": target}

    def act(wanted: dict[str, Any]) -> str:
        schedules.change(actor=request.actor, schedule_id=schedule_id, wanted=wanted)
        messages.success(request, "Saved. It launches with your rights.")
        return reverse("schedule", args=(request.tenant.slug, schedule_id))

    return _form(request, started, act, {"schedule": row})


@require_safe
@page("jobs.launch")
def schedule_preview(request: TenantRequest) -> HttpResponse:
    """Return when an expression would be due next, or what is wrong with it."""
    cron, zone = request.GET.get("cron", ""), request.GET.get("zone", "")
    faults = times.faults(cron, zone)
    context: dict[str, Any] = {"faults": [text for texts in faults.values() for text in texts], "in_zone": zone}
    if not faults:
        context |= {"words": times.words(cron), "ticks": times.upcoming(cron, zone, now(), PREVIEWED)}
    return render(request, "models_app/_schedule_preview.html", context)


@require_safe
@page("jobs.view")
def schedule(request: TenantRequest, schedule_id: UUID) -> HttpResponse:
    """Show a schedule, its next ticks, and what came of those before, newest first."""
    row = reading.schedule(request.actor, schedule_id)
    rows = reading.run_list(request.actor, schedule_id, before=before(request, datetime.fromisoformat), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda run: (run.due_at,))
    context = {
        "schedule": row,
        "runs": shown,
        "ticks": [] if row.paused else times.upcoming(row.cron, row.zone, now(), PREVIEWED),
        "overlap": dict(OVERLAP)[row.overlap],
        "missed": dict(MISSED)[row.missed],
        "can_launch": request.actor.can("jobs.launch", row),
        **links,
    }
    return render(request, "models_app/schedule.html", context)


def _form(
    request: TenantRequest, started: dict[str, Any], act: Callable[[dict[str, Any]], str], context: dict[str, Any]
) -> HttpResponse:
    """Show a form, or do what was posted and go on; a refusal is shown on the form."""
    posted = request.POST if request.method == "POST" else None
    launches = reading.launches(request.actor)
    form = ScheduleForm(posted, launches=launches, initial=started)
    went = once(request, form, lambda: act(form.wanted()))
    nothing, status = not any(choices for _, choices in launches), 422 if form.is_bound else 200
    return went or render(
        request, "models_app/schedule_form.html", {"form": form, "nothing": nothing, **context}, status=status
    )
