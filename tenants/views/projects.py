"""Projects: the cost centres that jobs, budgets and invoice lines belong to."""

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from tenants import operations, queries
from tenants.errors import ExchequerError
from tenants.views.forms import NewProject
from tenants.web.form_posts import explain, redirect_get_to
from tenants.web.idempotency import run_once
from tenants.web.pagination import csv_response, wants_csv
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_safe
@page("projects.view")
def projects(request: TenantRequest) -> HttpResponse:
    """List projects; `?export=csv` for the same as a file."""
    if wants_csv(request):
        rows = ([row.slug, row.name, row.created_at] for row in queries.projects())
        return csv_response(request, "projects", ("slug", "name", "created_at"), rows)
    return _render(request)


@page("projects.manage")
@redirect_get_to("projects")
def create_project(request: TenantRequest) -> HttpResponse:
    """Create a project."""
    actor = request.actor
    form = NewProject(request.POST)

    def act() -> str:
        data = form.cleaned_data
        made = operations.create_project(actor=actor, slug=data["slug"], name=data["name"])
        messages.success(request, f"{made.name} created. Jobs, budgets and quotas can use it.")
        return reverse("projects", args=(request.tenant.slug,))

    if form.is_valid():
        try:
            return redirect(run_once(request, form.cleaned_data["form_key"], act))
        except ExchequerError as refused:
            explain(form, refused)
    return _render(request, form=form, status=422)


def _render(request: TenantRequest, *, form: NewProject | None = None, status: int = 200) -> HttpResponse:
    actor = request.actor
    context = {
        "projects": queries.projects(),
        "form": (form or NewProject()) if actor.can("projects.manage") else None,
        "may_see_jobs": actor.can("jobs.view"),
    }
    return render(request, "tenants/projects.html", context, status=status)
