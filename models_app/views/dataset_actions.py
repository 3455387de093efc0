"""Actions on a dataset's page: remove versions, restrict and share."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods, require_POST

from models_app import queries
from models_app.datasets import operations, removal
from models_app.views.datasets import dataset_page
from tenants.errors import Conflict, NotFound
from tenants.parsing import uuid_in
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_POST
@page("datasets.create")
def dataset_remove(request: TenantRequest, dataset_id: UUID) -> HttpResponse:
    """Remove a dataset's failed uploads; redirect to what is left."""
    actor = request.actor
    gone = operations.remove_failed(actor=actor, dataset_id=dataset_id)
    messages.success(request, "Failed upload removed.")
    slug = request.tenant.slug
    return redirect("datasets", slug) if gone else redirect("dataset", slug, dataset_id)


@require_http_methods(["GET", "HEAD", "POST"])
@page("datasets.create")
def dataset_version_remove(request: TenantRequest, dataset_id: UUID, data_version_id: UUID) -> HttpResponse:
    """Remove a version's data after its name was typed; a GET redirects to the dataset."""
    actor = request.actor
    name = removal.version_name(actor, dataset_id, data_version_id)
    if request.method == "POST":
        if request.POST.get("confirm", "").strip() != name:
            fault = f"Nothing was removed: type “{name}” to confirm."
            return dataset_page(request, dataset_id, data_version_id, fault=fault, status=422)
        try:
            removal.remove_version(actor=actor, dataset_id=dataset_id, version_id=data_version_id)
        except Conflict as refused:
            return dataset_page(request, dataset_id, data_version_id, fault=refused.message, status=refused.status)
        messages.success(request, f"The data of {name} is removed. Its name, hash and counts stay.")
    return _back(request, dataset_id)


@require_http_methods(["GET", "HEAD", "POST"])
@page("datasets.create")
def dataset_remove_all(request: TenantRequest, dataset_id: UUID) -> HttpResponse:
    """Remove all versions of a dataset after its name was typed; a GET redirects to the dataset."""
    actor = request.actor
    name = queries.dataset_detail(actor, dataset_id).name
    if request.method != "POST":
        return _back(request, dataset_id)
    if request.POST.get("confirm", "").strip() != name:
        fault = f"Nothing was removed: type “{name}” to confirm."
        return dataset_page(request, dataset_id, None, fault=fault, status=422)
    try:
        removal.remove_dataset(actor=actor, dataset_id=dataset_id)
    except Conflict as refused:
        return dataset_page(request, dataset_id, None, fault=refused.message, status=refused.status)
    messages.success(request, f"The data of {name} is removed. Its name, hashes and counts stay.")
    return redirect("datasets", request.tenant.slug)


@require_http_methods(["GET", "HEAD", "POST"])
@page("datasets.share")
def dataset_restrict(request: TenantRequest, dataset_id: UUID) -> HttpResponse:
    """Restrict a dataset (`restricted=on`) or open it to the organisation; a GET redirects to the dataset."""
    if request.method == "POST":
        restricted = request.POST.get("restricted") == "on"
        operations.restrict(actor=request.actor, dataset_id=dataset_id, restricted=restricted)
        seen = (
            "Only its creator, owners, admins and the members it is shared with can now see it."
            if restricted
            else "All members can now see it."
        )
        messages.success(request, seen)
    return _back(request, dataset_id)


@require_http_methods(["GET", "HEAD", "POST"])
@page("datasets.share")
def dataset_move(request: TenantRequest, dataset_id: UUID) -> HttpResponse:
    """Move a dataset to the chosen project, or to the whole organisation; a GET redirects to the dataset."""
    if request.method == "POST":
        project_id = uuid_in(request.POST.get("project"))
        row = operations.move(actor=request.actor, dataset_id=dataset_id, project_id=project_id)
        messages.success(
            request, "It belongs to the whole organisation." if row.project is None else f"Moved to {row.project.name}."
        )
    return _back(request, dataset_id)


def _back(request: TenantRequest, dataset_id: UUID) -> HttpResponse:
    """Redirect to the dataset, or to the list if the action has just hidden it from the actor.

    Raises NotFound otherwise.
    """
    slug = request.tenant.slug
    try:
        operations.seen(request.actor, dataset_id)
    except NotFound:
        if request.method != "POST":
            raise
        return redirect("datasets", slug)
    return redirect("dataset", slug, dataset_id)
