"""Buttons that move a model version through its stages.

Putting one into production requires typing its name; requesting it does not.
"""

from collections.abc import Callable
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_http_methods

from models_app.models import ModelVersion, Stage
from models_app.registry import lineage, registry
from models_app.views.models import version_page
from tenants.access.actor import Actor
from tenants.errors import Conflict, Invalid
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_http_methods(["GET", "HEAD", "POST"])
@page("models.manage")
def promote(request: TenantRequest, version_id: UUID) -> HttpResponse:
    """Move a version to the chosen stage, and redirect to its page."""
    stage = request.POST.get("stage", "")
    return _move(
        request,
        version_id,
        lambda actor: registry.promote(actor=actor, version_id=version_id, stage=stage),
        typed=stage == Stage.PRODUCTION and registry.grants(request.actor, version_id),
    )


@require_http_methods(["GET", "HEAD", "POST"])
@page("models.approve")
def approve(request: TenantRequest, version_id: UUID) -> HttpResponse:
    """Move a version into production as requested, and redirect to its page."""
    return _move(request, version_id, lambda actor: registry.approve(actor=actor, version_id=version_id), typed=True)


@require_http_methods(["GET", "HEAD", "POST"])
@page("models.approve")
def decline(request: TenantRequest, version_id: UUID) -> HttpResponse:
    """Decline a request for production with the entered reason, and redirect to the version's page."""
    reason = request.POST.get("reason", "")
    return _move(request, version_id, lambda actor: registry.decline(actor=actor, version_id=version_id, reason=reason))


def _move(
    request: TenantRequest, version_id: UUID, act: Callable[[Actor], ModelVersion], *, typed: bool = False
) -> HttpResponse:
    """Act once the required name was typed; a refusal is shown on the version's page."""
    actor = request.actor
    shown = lineage.lineage(actor, version_id)
    if request.method != "POST":  # the URL was opened directly after a refusal was shown there
        return redirect("model-version", request.tenant.slug, version_id)
    name = f"{shown.model} v{shown.number}"
    if typed and request.POST.get("confirm", "").strip() != name:
        return version_page(request, version_id, fault=f"Nothing was changed: type “{name}” to confirm.", status=422)
    try:
        version = act(actor)
    except (Conflict, Invalid, registry.SelfApproval) as refused:
        return version_page(request, version_id, fault=refused.message, status=refused.status)
    waits = registry.waits(version)
    said = f"{name} is waiting for approval." if waits else f"{name} is in stage {version.stage}."
    messages.success(request, said)
    return redirect("model-version", request.tenant.slug, version_id)
