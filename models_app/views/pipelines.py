"""Pages of pipelines: the list, the form, one pipeline with its runs, and one run as a graph and a table."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from models_app.forms.pipelines import PipelineForm, as_text
from models_app.pipelines import graph, pipelines, reading
from models_app.pipelines.reading import RunDetail
from tenants import queries as tenancy
from tenants.web.form_posts import once
from tenants.web.pagination import before, paged
from tenants.web.requests import TenantRequest
from tenants.web.views import page

PAGE = 50


@require_safe
@page("jobs.view")
def pipeline_list(request: TenantRequest) -> HttpResponse:
    """List pipelines, newest first."""
    rows = reading.pipeline_list(request.actor, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    context = {"pipelines": shown, "can_launch": request.actor.can_somewhere("jobs.launch"), **links}
    return render(request, "models_app/pipelines.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page("jobs.launch")
def pipeline_new(request: TenantRequest) -> HttpResponse:
    """Show the form with the template in it, or save a pipeline."""
    projects = [(project.id, project.name) for project in tenancy.projects_for(request.actor, "jobs.launch")]
    form = PipelineForm(request.POST if request.method == "POST" else None, projects=projects)

    def act(data: dict[str, Any]) -> str:
        made = pipelines.create(
            actor=request.actor,
            project_id=UUID(data["project"]),
            name=data["name"],
            steps={"steps": data["steps"]},
            cap=data["cap"],
        )
        messages.success(request, f"{made.name} saved. Launch it when you like.")
        return reverse("pipeline", args=(request.tenant.slug, made.id))

    return _form(request, form, act, {"pipeline": None})


@require_http_methods(["GET", "HEAD", "POST"])
@page("jobs.launch")
def pipeline_change(request: TenantRequest, pipeline_id: UUID) -> HttpResponse:
    """Show the form of a pipeline, or change it."""
    row = reading.pipeline(request.actor, pipeline_id)
    request.actor.require("jobs.launch", row)
    started = {"name": row.name, "cap": row.cap.amount if row.cap else None, "steps": as_text(row.steps)}
    posted = request.POST if request.method == "POST" else None
    form = PipelineForm(posted, projects=[], fixed=True, initial=started)

    def act(data: dict[str, Any]) -> str:
        pipelines.change(
            actor=request.actor,
            pipeline_id=pipeline_id,
            name=data["name"],
            steps={"steps": data["steps"]},
            cap=data["cap"],
        )
        messages.success(request, "Saved. Runs that were launched before keep their steps.")
        return reverse("pipeline", args=(request.tenant.slug, pipeline_id))

    return _form(request, form, act, {"pipeline": row})


@require_safe
@page("jobs.view")
def pipeline(request: TenantRequest, pipeline_id: UUID) -> HttpResponse:
    """Show a pipeline and its runs, newest first."""
    row = reading.pipeline(request.actor, pipeline_id)
    rows = reading.run_list(request.actor, pipeline_id=row.id, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda run: (run.id,))
    can_launch = request.actor.can("jobs.launch", row)
    context = {"pipeline": row, "runs": shown, "steps": as_text(row.steps), "can_launch": can_launch, **links}
    return render(request, "models_app/pipeline.html", context)


@require_POST
@page("jobs.launch")
def pipeline_launch(request: TenantRequest, pipeline_id: UUID) -> HttpResponse:
    """Launch a run and show it."""
    run = pipelines.launch(actor=request.actor, pipeline=pipeline_id)
    messages.success(request, "Launched. Its steps begin as what they need is done.")
    return redirect("pipeline-run", request.tenant.slug, run.id)


@require_POST
@page("jobs.launch")
def pipeline_remove(request: TenantRequest, pipeline_id: UUID) -> HttpResponse:
    """Remove a pipeline and show the list."""
    pipelines.remove(actor=request.actor, pipeline_id=pipeline_id)
    messages.success(request, "Removed. Its runs stay.")
    return redirect("pipelines", request.tenant.slug)


@require_safe
@page("jobs.view")
def pipeline_run(request: TenantRequest, run_id: UUID) -> HttpResponse:
    """Show a run."""
    return render(request, "models_app/pipeline_run.html", _context(request, reading.run(request.actor, run_id)))


@require_safe
@page("jobs.view")
def pipeline_run_live(request: TenantRequest, run_id: UUID) -> HttpResponse:
    """Return the part of the page that changes; once the run has ended, the browser reloads the page."""
    run = reading.run(request.actor, run_id)
    response = render(request, "models_app/_pipeline_run_live.html", _context(request, run))
    if run.final:
        response["HX-Refresh"] = "true"
    return response


@require_POST
@page("jobs.cancel")
def pipeline_run_cancel(request: TenantRequest, run_id: UUID) -> HttpResponse:
    """Cancel a run and show it."""
    pipelines.cancel(actor=request.actor, run_id=run_id)
    messages.success(request, "Cancelled. You pay for the seconds until its jobs stop.")
    return redirect("pipeline-run", request.tenant.slug, run_id)


@require_POST
@page("jobs.launch")
def pipeline_run_retry(request: TenantRequest, run_id: UUID) -> HttpResponse:
    """Go on with a run where it failed, and show it."""
    pipelines.retry(actor=request.actor, run_id=run_id)
    messages.success(request, "It goes on from the steps that failed. What succeeded is kept.")
    return redirect("pipeline-run", request.tenant.slug, run_id)


def _context(request: TenantRequest, run: RunDetail) -> dict[str, Any]:
    actor = request.actor
    own = run.launched_by in actor.own_ids or actor.can("jobs.cancel_any", run)
    return {
        "run": run,
        "graph": graph.draw(run.steps),
        "can_cancel": not run.final and own and actor.can("jobs.cancel", run),
        "can_retry": run.state in ("failed", "cancelled")
        and not run.pipeline_removed
        and actor.can("jobs.launch", run),
    }


def _form(
    request: TenantRequest, form: PipelineForm, act: Callable[[dict[str, Any]], str], context: dict[str, Any]
) -> HttpResponse:
    """Show a form, or do what was posted and go on; a refusal is shown on the form."""
    went = once(request, form, lambda: act(form.cleaned_data))
    status = 422 if form.is_bound else 200
    return went or render(request, "models_app/pipeline_form.html", {"form": form, **context}, status=status)
