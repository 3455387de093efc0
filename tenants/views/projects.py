"""Projects: the cost centres that jobs, budgets and invoice lines belong to."""

from uuid import UUID, uuid4

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_safe

from tenants import operations, queries, quotas
from tenants.errors import Invalid
from tenants.grants.queries import grants_in
from tenants.projects.figures import of_project
from tenants.projects.sight import in_sight_of
from tenants.quotas import Resource
from tenants.views.quotas import Line
from tenants.web.form_posts import explain, once, redirect_get_to
from tenants.web.pagination import csv_response, sliced, wants_csv
from tenants.web.requests import TenantRequest
from tenants.web.views import page


class NewProject(forms.Form):
    """A cost centre."""

    form_key = forms.UUIDField(widget=forms.HiddenInput, required=False, initial=uuid4)
    name = forms.CharField(label="Name", max_length=120)
    slug = forms.CharField(
        label="Short name",
        max_length=50,
        help_text="Lower-case letters, digits and dashes. Jobs, budgets and invoice lines show it. It cannot be changed.",
    )
    restricted = forms.BooleanField(
        label="Restricted",
        required=False,
        help_text="Only those with a role in it, owners and admins see its jobs, data, models and endpoints. Keys for its endpoints end if who made them does not.",
    )


class ProjectChange(forms.Form):
    """The name of a project, and who sees into it."""

    name = forms.CharField(label="Name", max_length=120)
    restricted = NewProject.base_fields["restricted"]


@require_safe
@page("projects.view")
def projects(request: TenantRequest) -> HttpResponse:
    """List projects; `?export=csv` for the same as a file."""
    if wants_csv(request):
        rows = ([row.slug, row.name, row.restricted, row.archived_at, row.created_at] for row in queries.projects())
        columns = ("slug", "name", "restricted", "archived_at", "created_at")
        return csv_response(request, "projects", columns, rows)
    return _render(request)


@page("projects.manage")
@redirect_get_to("projects")
def create_project(request: TenantRequest) -> HttpResponse:
    """Create a project."""
    actor = request.actor
    form = NewProject(request.POST)

    def act() -> str:
        data = form.cleaned_data
        known = {key: data[key] for key in ("slug", "name", "restricted")}
        made = operations.create_project(actor=actor, **known)
        messages.success(request, f"{made.name} created. Jobs, budgets and quotas can use it.")
        return reverse("project", args=(request.tenant.slug, made.id))

    return once(request, form, act) or _render(request, form=form, status=422)


@require_safe
@page("projects.view")
def project_page(request: TenantRequest, project_id: UUID) -> HttpResponse:
    """Show a project: who has a role in it, and where its work, money and limits are."""
    return _one(request, project_id)


@require_http_methods(["GET", "HEAD", "POST"])
@page("projects.manage")
def project_change(request: TenantRequest, project_id: UUID) -> HttpResponse:
    """Rename a project, restrict it or open it; a GET redirects to it."""
    if request.method != "POST":
        return redirect("project", request.tenant.slug, queries.project(project_id).id)
    form = ProjectChange(request.POST)
    if form.is_valid():
        try:
            operations.change_project(actor=request.actor, project_id=project_id, **form.cleaned_data)
        except Invalid as refused:
            explain(form, refused)
        else:
            messages.success(request, "Saved.")
            return redirect("project", request.tenant.slug, project_id)
    return _one(request, project_id, form=form, status=422)


@require_http_methods(["GET", "HEAD", "POST"])
@page("projects.manage")
def project_archive(request: TenantRequest, project_id: UUID) -> HttpResponse:
    """Archive a project, or restore it (`restore=on`); a GET redirects to it."""
    queries.project(project_id)
    if request.method == "POST":
        if request.POST.get("restore"):
            operations.restore_project(actor=request.actor, project_id=project_id)
            messages.success(request, "Restored: work can start in it again.")
        else:
            operations.archive_project(actor=request.actor, project_id=project_id)
            messages.success(request, "Archived: nothing new starts in it. What runs goes on.")
    return redirect("project", request.tenant.slug, project_id)


def _one(
    request: TenantRequest, project_id: UUID, *, form: ProjectChange | None = None, status: int = 200
) -> HttpResponse:
    actor, row = request.actor, queries.project(project_id)
    known = {"name": row.name, "restricted": row.restricted}
    shown, links = sliced(request, grants_in(project_id)) if actor.can("members.view") else (None, {})
    context = {
        "project": row,
        "form": (form or ProjectChange(initial=known)) if actor.can("projects.manage") else None,
        "grants": shown,
        **links,
        "can_grant": actor.can("members.manage"),
        "sees_into": in_sight_of(actor, project_id),
        "may_see_jobs": actor.can_somewhere("jobs.view"),
        "figures": of_project(actor, project_id),
        "limits": _limits(row) if actor.can("quotas.view") else None,
        "can_limit": actor.can("quotas.manage"),
    }
    return render(request, "tenants/project.html", context, status=status)


def _limits(row: queries.ProjectRow) -> list[Line]:
    """Return the limits of the project itself, with what is in use."""
    known = quotas.resources()
    return [
        Line(use, known.get(use.resource, Resource(use.resource, use.resource)), row.name, 0, "", None)
        for use in quotas.usage_of(project_id=row.id, person=None)
        if use.scope.project_id == row.id and (use.limit is not None or use.in_use)
    ]


def _render(request: TenantRequest, *, form: NewProject | None = None, status: int = 200) -> HttpResponse:
    actor = request.actor
    shown, links = sliced(request, queries.projects())
    context = {
        "projects": shown,
        **links,
        "form": (form or NewProject()) if actor.can("projects.manage") else None,
        "may_see_jobs": actor.can_somewhere("jobs.view"),
    }
    return render(request, "tenants/projects.html", context, status=status)
