"""One job: state, progress, logs, cost, and history."""

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from compute import queries
from compute.idle import snooze
from compute.jobs import jobs as operations
from compute.queries.device_use import use_by_minute
from compute.queries.idle import idle_of
from compute.queries.right_size import job_use
from compute.views.forms import CancelForm, SnoozeForm
from compute.views.progress import (
    ProgressStage,
    loss_series,
    not_measured,
    other_metrics,
    overrun,
    single_values,
    stages,
    use_series,
)
from tenants.audit import queries as audit_queries
from tenants.sharing import shares
from tenants.sharing.panel import share_panel
from tenants.web.requests import TenantRequest
from tenants.web.views import page

TABS = (("", "Overview"), ("logs", "Logs"), ("attempts", "Attempts and cost"), ("events", "Events"))
LOG_TAIL = 400
LINKED = frozenset({"dataset", "dataset_version", "model", "model_version", "read", "rows"})


@require_safe
@page("jobs.view")
def job(request: TenantRequest, job_id: UUID) -> HttpResponse:
    """Show a job. `?tab=` chooses logs, attempts or events."""
    detail = queries.job_detail(job_id)
    chosen = request.GET.get("tab", "")
    may_read_log = request.actor.can("audit.view")
    tabs = TABS if may_read_log else tuple(one for one in TABS if one[0] != "events")
    tab = chosen if chosen in dict(TABS) else ""
    context = {**live_context(request, detail), "tab": tab, "tabs": tabs, "currency": detail.cost.currency}
    if tab == "":
        context["device_use"] = job_use(job_id)
        context["sharing"] = share_panel(request.actor, "job", job_id, detail)
    elif tab == "logs":
        context["lines"] = queries.last_log_lines(job_id, LOG_TAIL)
    elif tab == "events" and may_read_log:
        context["entries"] = audit_queries.entries(
            audit_queries.EntryFilter(target_type="job", target_id=str(job_id)), limit=100
        )
    return render(request, "compute/job.html", context)


@require_safe
@page("jobs.view")
def job_live(request: TenantRequest, job_id: UUID) -> HttpResponse:
    """Return the live part of the page; if the heading's actions have changed, make the browser reload the page."""
    detail = queries.job_detail(job_id)
    return _refreshed(request, detail, render(request, "compute/_job_live.html", live_context(request, detail)))


@require_safe
@page("jobs.view")
def job_logs(request: TenantRequest, job_id: UUID) -> HttpResponse:
    """Return the tail of the log; polled while the job can still write."""
    detail = queries.job_detail(job_id)
    context = {"job": detail, "lines": queries.last_log_lines(job_id, LOG_TAIL), "offers": offers(detail)}
    return _refreshed(request, detail, render(request, "compute/_job_logs.html", context))


@require_safe
@page("jobs.view")
def job_log_file(request: TenantRequest, job_id: UUID) -> HttpResponse:
    """Return the whole log as a text file; the download is recorded in the audit log."""
    operations.note_log_download(actor=request.actor, job_id=job_id)
    lines = queries.logs_after(job_id, limit=200_000)
    text = "".join(f"{line.at.isoformat()} [{line.attempt}] {line.line}\n" for line in lines)
    return HttpResponse(
        text,
        content_type="text/plain; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="job-{job_id}.log"'},
    )


@require_POST
@page("jobs.cancel")
def job_cancel(request: TenantRequest, job_id: UUID) -> HttpResponse:
    """Cancel a job and redirect to its page."""
    form = CancelForm(request.POST)
    form.is_valid()
    operations.cancel(actor=request.actor, job_id=job_id, reason=form.cleaned_data.get("reason", ""))
    messages.success(
        request,
        "Cancelled. You pay for the seconds until it stops; the rest of the hold is released.",
    )
    return redirect("job", request.tenant.slug, job_id)


@require_POST
@page("jobs.cancel")
def job_pause(request: TenantRequest, job_id: UUID) -> HttpResponse:
    """Pause a job and redirect to its page."""
    operations.pause(actor=request.actor, job_id=job_id)
    stopping = queries.job_detail(job_id).stopping
    messages.success(
        request,
        "Pausing: saving a checkpoint. You pay until it has stopped."
        if stopping
        else "Paused. Nothing is charged while it is paused.",
    )
    return redirect("job", request.tenant.slug, job_id)


@require_POST
@page("jobs.launch")
def job_resume(request: TenantRequest, job_id: UUID) -> HttpResponse:
    """Resume a paused job and redirect to its page."""
    operations.resume(actor=request.actor, job_id=job_id)
    messages.success(request, "Resumed. It waits for a device and continues from its checkpoint, if it has one.")
    return redirect("job", request.tenant.slug, job_id)


@require_POST
@page("jobs.cancel")
def job_snooze(request: TenantRequest, job_id: UUID) -> HttpResponse:
    """Snooze the stop of an idle job and redirect to its page."""
    form = SnoozeForm(request.POST)
    if form.is_valid():
        snooze.snooze(actor=request.actor, job_id=job_id, **form.cleaned_data)
        messages.success(request, "Snoozed. The job keeps its devices, and you pay for them.")
    else:
        queries.job_detail(job_id)  # what does not exist has no form to correct
        messages.error(request, f"Say why, and snooze for 1 to {snooze.MOST_HOURS} hours.")
    return redirect("job", request.tenant.slug, job_id)


def offers(detail: queries.JobDetail) -> str:
    """Return which buttons the heading of a job's page has: those of an ended, a paused or a live job."""
    return "ended" if detail.final else "paused" if detail.state == "paused" else "live"


def _refreshed(request: TenantRequest, detail: queries.JobDetail, response: HttpResponse) -> HttpResponse:
    """Make the browser reload the page if its heading was rendered for another state than the current one."""
    now = offers(detail)
    if request.GET.get("seen", "live" if now == "ended" else now) != now:
        response["HX-Refresh"] = "true"
    return response


def live_context(request: TenantRequest, detail: queries.JobDetail) -> dict[str, Any]:
    """Return the context of the live part of a job's page."""
    actor = request.actor
    points = queries.metrics(detail.id)
    minutes = use_by_minute(detail)
    strip: list[ProgressStage] = stages(detail)
    own = detail.submitted_by in actor.own_ids
    answers = (own or actor.can("jobs.cancel_any", detail)) and shares.is_managed(actor, "job", detail.id)
    mine = answers and actor.can("jobs.cancel", detail)
    return {
        "job": detail,
        "offers": offers(detail),
        "overrun": overrun(detail),
        "strip": strip,
        "losses": loss_series(points),
        "metrics": other_metrics(points),
        "singles": single_values(points),
        "use": minutes,
        "use_charts": use_series(minutes),
        "unmeasured": not_measured(minutes),
        "steps": points[-30:][::-1],
        "idle": idle_of(detail.id) if detail.state == "running" else None,
        "can_snooze": mine,
        "last_lines": queries.last_log_lines(detail.id, 20) if detail.state == "failed" else [],
        "can_cancel": not detail.final and mine,
        "can_pause": offers(detail) == "live" and mine,
        "can_resume": detail.state == "paused" and answers and actor.can("jobs.launch", detail),
        "can_launch": actor.can("jobs.launch", detail),
        "facts": _facts(detail.described),
    }


def _facts(described: dict[str, Any]) -> list[tuple[str, Any]]:
    """Return the kind's own fields with plain values; ids become links elsewhere on the page."""
    return [
        (name, value)
        for name, value in described.items()
        if value not in (None, "", [], {}) and not isinstance(value, dict) and name not in LINKED
    ]
