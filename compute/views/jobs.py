"""The list of jobs: tabs with counts, filters, keyset pages, rows that poll while they run."""

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from compute import queries
from compute.views.forms import TABS, JobListFilter
from tenants import queries as tenancy
from tenants.web.pagination import EXPORT_LIMIT, before, csv_response, heading, paged, wants_csv
from tenants.web.requests import TenantRequest
from tenants.web.views import page

PAGE = 50
COLUMNS = (
    ("state", "State", False), ("name", "Name", False), ("project", "Project", False), ("device", "Device", False),
    ("submitted", "Submitted", False), ("billed", "Billed", True), ("cost", "Cost so far", True),
)  # fmt: skip
DOWN_FIRST = ("submitted", "billed", "cost")
EXPORTED = (
    "id",
    "name",
    "kind",
    "project",
    "submitted_by",
    "device_class",
    "tier",
    "state",
    "cause",
    "submitted_at",
    "started_at",
    "ended_at",
    "billed_seconds",
    "cost",
    "currency",
    "share",
)


@require_safe
@page("jobs.view")
def jobs(request: TenantRequest) -> HttpResponse:
    """List jobs, newest first; `?export=csv` for the same jobs as a file."""
    projects = [(str(project.id), project.name) for project in tenancy.projects()]
    form = JobListFilter(request.GET, projects=projects, devices=[row.device_class for row in queries.device_classes()])
    asked = form.job_filter()
    if wants_csv(request, form=form):
        return _export(request, asked)
    sort = queries.readable_sort(form.cleaned_data.get("sort") or "")
    rows = queries.job_list(asked, before=before(request, UUID), limit=PAGE, sort=sort)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    context = {
        "jobs": shown,
        "form": form,
        "tabs": _tabs(asked, form),
        "columns": [heading(*column, sort, down_first=DOWN_FIRST) for column in COLUMNS],
        "order": _order(sort),
        "filtered": bool(asked.states or asked.project_id or asked.device_class or asked.text),
        "filter_words": form.words(),
        "can_launch": request.actor.can_somewhere("jobs.launch"),
        **links,
    }
    return render(request, "compute/jobs.html", context)


@require_safe
@page("jobs.view")
def job_row(request: TenantRequest, job_id: UUID) -> HttpResponse:
    """Return one row for the list's poll; the last one carries no trigger, which ends the polling."""
    return render(request, "compute/_job_row.html", {"job": queries.job_detail(job_id)})


def _order(sort: str) -> str:
    label = next((label for name, label, _ in COLUMNS if name == sort.removeprefix("-")), "")
    return f"By {label.lower()}, {'last' if sort.startswith('-') else 'first'} first" if label else "Newest first"


def _tabs(asked: queries.JobFilter, form: JobListFilter) -> list[dict[str, object]]:
    counts = queries.counts_by_state(asked)
    chosen = form.cleaned_data.get("state") or ""
    return [
        {"key": key, "label": label, "count": sum(counts[state] for state in states or counts), "active": key == chosen}
        for key, label, states in TABS
    ]


def _export(request: TenantRequest, asked: queries.JobFilter) -> HttpResponse:
    rows = queries.job_list(asked, limit=EXPORT_LIMIT)
    return csv_response(
        request,
        "jobs",
        EXPORTED,
        (
            (
                row.id, row.name, row.kind, row.project, row.submitted_by_label, row.device_class, row.tier, row.state, row.cause,
                row.submitted_at, row.started_at, row.ended_at, row.billed_seconds, row.cost.amount, row.cost.currency,
                row.share_said,
            )
            for row in rows
        ),
    )  # fmt: skip
