"""Pages of models: the list, a model's versions, and one version with its lineage."""

from uuid import UUID

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from models_app.files import downloads
from models_app.registry import lineage as queries
from models_app.registry import registry
from models_app.views import figures
from tenants.parsing import uuid_in
from tenants.sharing.panel import share_panel
from tenants.web.pagination import before, paged, whole
from tenants.web.requests import TenantRequest
from tenants.web.views import page

PAGE = 50
MOVES = (("registered", "Back to registered"), ("staging", "Move to staging"), ("archived", "Archive"))
"""Stages without confirmation, and their button labels."""


@require_safe
@page("models.view")
def models(request: TenantRequest) -> HttpResponse:
    """List models, newest first."""
    actor = request.actor
    rows = queries.model_list(actor, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    context = {
        "models": shown,
        "asked": queries.waiting_list(actor) if actor.can_somewhere("models.approve") else [],
        "can_launch": actor.can_somewhere("jobs.launch"),
        **links,
    }
    return render(request, "models_app/models.html", context)


@require_safe
@page("models.view")
def model(request: TenantRequest, model_id: UUID) -> HttpResponse:
    """List a model's versions, newest first."""
    actor = request.actor
    rows = queries.version_list(actor, model_id, before=before(request, whole), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.number,))
    return render(
        request,
        "models_app/model.html",
        {
            "versions": shown,
            "name": rows[0].model if rows else "",
            "marked": uuid_in(request.GET.get("mark")),
            "sharing": share_panel(actor, "model", model_id),
            **links,
        },
    )


@require_safe
@page("models.view")
def model_version(request: TenantRequest, version_id: UUID) -> HttpResponse:
    """Show one version: stage, metrics, signature, lineage, cost."""
    return version_page(request, version_id)


def version_page(request: TenantRequest, version_id: UUID, *, fault: str = "", status: int = 200) -> HttpResponse:
    """Return a version's page; `fault` is the refusal of the last action."""
    actor = request.actor
    version = queries.lineage(actor, version_id)
    rows, importance = figures.inputs(version.metrics, version.signature)
    manages = registry.manages(actor, version_id)
    context = {
        "version": version,
        "figures": figures.single(version.metrics),
        "held_out": version.training.get("rows", {}).get("test"),
        "classes": figures.classes(version.metrics, version.signature.get("classes", [])),
        "inputs": rows,
        "importance": importance,
        "fault": fault,
        "moves": [(stage, words) for stage, words in MOVES if stage != version.stage],
        "can_manage": manages and actor.can("models.manage", version),
        "can_approve": manages and actor.can("models.approve", version),
        "grants": registry.grants(actor, version_id),
        "can_deploy": actor.can_somewhere("endpoints.manage"),
        "can_launch": actor.can_somewhere("jobs.launch"),
    }
    return render(request, "models_app/version.html", context, status=status)


@require_safe
@page("models.view", own_transaction=True)
def model_download(request: TenantRequest, version_id: UUID) -> HttpResponseBase:
    """Return the weights as a download."""
    actor = request.actor
    return downloads.answer(request, actor, lambda: downloads.weights(actor, version_id))
