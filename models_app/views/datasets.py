"""Datasets: the list, the upload, and one dataset with its profile."""

from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from models_app import queries
from models_app.datasets import operations, removal
from models_app.datasets.column_choices import column_readings, file_reading
from models_app.datasets.uploads import UploadTooLarge, cap_uploads, most_bytes, uploaded_file
from models_app.forms.datasets import DatasetUpload
from models_app.tables import writing
from models_app.tables.limits import MIB
from models_app.views import profile as shown
from tenants import queries as tenancy
from tenants.errors import ExchequerError, Invalid, NotFound
from tenants.isolation.scoping import tenant_scope
from tenants.parsing import uuid_in
from tenants.sharing.panel import share_panel
from tenants.sharing.shares import is_managed
from tenants.web.large_bodies import large_body
from tenants.web.pagination import before, paged
from tenants.web.requests import TenantRequest
from tenants.web.views import page

PAGE = 50
COLUMNS_SHOWN = 200


@require_safe
@page("datasets.view")
def datasets(request: TenantRequest) -> HttpResponse:
    """List the datasets that the actor may see, newest first."""
    actor = request.actor
    rows = queries.dataset_list(actor, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    context = {"datasets": shown, "can_create": actor.can_somewhere("datasets.create"), **links}
    return render(request, "models_app/datasets.html", context)


@require_safe
@page("datasets.view")
def dataset_row(request: TenantRequest, dataset_id: UUID) -> HttpResponse:
    """Return one row for the list's poll; a ready or failed row carries no trigger."""
    detail = queries.dataset_detail(request.actor, dataset_id)
    return render(request, "models_app/_dataset_row.html", {"dataset": detail})


@require_safe
@page("datasets.view")
def dataset(request: TenantRequest, dataset_id: UUID) -> HttpResponse:
    """Show a dataset's version (the newest unless `?version=` names one) with its profile."""
    return dataset_page(request, dataset_id, uuid_in(request.GET.get("version")), asked=request.GET.get("version", ""))


def dataset_page(
    request: TenantRequest,
    dataset_id: UUID,
    version_id: UUID | None,
    *,
    asked: str = "",
    fault: str = "",
    status: int = 200,
) -> HttpResponse:
    """Return the page of a dataset's version; `fault` is the refusal of the last action. Raises NotFound."""
    actor = request.actor
    detail = queries.dataset_detail(actor, dataset_id)
    version = _chosen(detail, str(version_id or asked))
    profile: dict[str, Any] = {}
    if version.state == "ready":
        profile = queries.profile(actor, dataset_id, version.id)
    readings = column_readings(actor, version.id) if profile else ()
    columns = shown.columns(profile, readings)
    manages = is_managed(actor, "dataset", dataset_id)
    create, share = (manages and actor.can(one, detail) for one in ("datasets.create", "datasets.share"))
    context = {
        "dataset": detail,
        "version": version,
        "profile": profile,
        "without_target": sum(one.missing for one in columns if one.is_target),
        "differs": shown.differs(version, detail.history),
        "columns": columns[:COLUMNS_SHOWN],
        "file": shown.file(file_reading(actor, version.id)) if profile else None,
        "hidden_columns": max(0, len(columns) - COLUMNS_SHOWN),
        "version_name": f"{detail.name} v{version.number}",
        "version_gone": f"Its file, its table of {version.rows:,} rows and its profile",
        "hanging_all": removal.hangs_on_dataset(actor, dataset_id) if create and detail.versions else None,
        "hanging": removal.hangs_on(actor, version.id) if create and version.state == "ready" else None,
        "sharing": share_panel(actor, "dataset", detail.id, detail),
        "projects_to_choose": tenancy.projects_for(actor, "datasets.share") if share else [],
        "can_launch": actor.can_somewhere("jobs.launch"),
        "can_create": create,
        "can_share": share,
        "fault": fault,
    }
    return render(request, "models_app/dataset.html", context, status=status)


@require_safe
@page("datasets.view")
def dataset_status(request: TenantRequest, dataset_id: UUID) -> HttpResponse:
    """Return the ingestion banner; when ingestion ends, it reloads the page to show the profile."""
    actor = request.actor
    detail = queries.dataset_detail(actor, dataset_id)
    version = _chosen(detail, request.GET.get("version"))
    create = actor.can("datasets.create", detail) and is_managed(actor, "dataset", dataset_id)
    context = {"dataset": detail, "version": version, "can_create": create}
    response = render(request, "models_app/_dataset_status.html", context)
    if version.state != "ingesting":
        response["HX-Refresh"] = "true"
    return response


@large_body
@page("datasets.create", own_transaction=True)
def upload(request: TenantRequest) -> HttpResponse:
    """Take an uploaded file; the object store is written outside any transaction."""
    actor = request.actor
    if request.method != "POST":
        return _upload_page(request, DatasetUpload(**_offers(request)))
    cap_uploads(request)
    form = DatasetUpload(request.POST, request.FILES, **_offers(request))
    try:
        file = uploaded_file(request)
        if form.is_valid():
            version = operations.upload(
                actor=actor,
                name=form.cleaned_data["name"],
                file=file,
                filename=file.name or "upload",
                target=form.cleaned_data["target"],
                audience=operations.Audience(
                    uuid_in(form.cleaned_data["project"]), restricted=form.cleaned_data["restricted"]
                ),
                writing={name: form.cleaned_data[name] for name in writing.KEYS},
            )
            return redirect("dataset", request.tenant.slug, version.dataset_id)
    except UploadTooLarge as refused:
        form.fields["file"].required = False  # it was refused, not missing
        form.add_error("file", refused.message)
        return _upload_page(request, form, status=413)
    except Invalid as refused:
        for name, texts in refused.fields.items():
            if name not in form.errors:
                form.add_error(name if name in form.fields else None, texts)
    except ExchequerError as refused:
        form.add_error(None, refused.message)
    return _upload_page(request, form, status=422)


def _offers(request: TenantRequest) -> dict[str, Any]:
    """Return what the form offers; the view opens no scope of its own."""
    actor = request.actor
    with tenant_scope(request.tenant_id):
        rows = tenancy.projects_for(actor, "datasets.create")
    return {"projects": [(str(row.id), row.name) for row in rows], "whole": actor.can("datasets.create")}


def _upload_page(request: TenantRequest, form: DatasetUpload, status: int = 200) -> HttpResponse:
    with tenant_scope(request.tenant_id):
        return render(
            request, "models_app/upload.html", {"form": form, "limit_mib": most_bytes() // MIB}, status=status
        )


def _chosen(detail: queries.DatasetDetail, text: str | None) -> queries.VersionRow:
    if not text:
        return detail.latest
    found = next((version for version in detail.history if str(version.id) == text), None)
    if found is None:
        raise NotFound
    return found
