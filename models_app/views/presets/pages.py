"""Pages of presets: the list, and the form of one; both launch it, and remove it."""

from __future__ import annotations

import json
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from models_app.forms.presets import PresetForm
from models_app.presets import presets, reading
from tenants.web.form_posts import once
from tenants.web.pagination import before, paged
from tenants.web.requests import TenantRequest
from tenants.web.views import page

PAGE = 50


@require_safe
@page("jobs.view")
def preset_list(request: TenantRequest) -> HttpResponse:
    """List presets, newest first."""
    rows = reading.preset_list(request.actor, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    context = {"presets": shown, "can_launch": request.actor.can_somewhere("jobs.launch"), **links}
    return render(request, "models_app/presets.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page("jobs.launch")
def preset(request: TenantRequest, preset_id: UUID) -> HttpResponse:
    """Show a preset in its form, or change it."""
    row = reading.preset(request.actor, preset_id)
    request.actor.require("jobs.launch", row)
    limit = {"max_cost": f"{row.max_cost.amount.normalize():f}"} if row.max_cost else {}
    text = json.dumps(row.launch | limit, indent=2, ensure_ascii=False)
    posted = request.POST if request.method == "POST" else None
    form = PresetForm(posted, initial={"name": row.name, "launch": text})

    def act() -> str:
        data = form.cleaned_data
        presets.change(actor=request.actor, preset_id=preset_id, name=data["name"], launch=data["launch"])
        messages.success(request, "Saved. Jobs that were launched before stay as they are.")
        return reverse("saved-launches", args=(request.tenant.slug,))

    status = 422 if form.is_bound else 200
    return once(request, form, act) or render(
        request, "models_app/preset.html", {"preset": row, "form": form}, status=status
    )


@require_POST
@page("jobs.launch")
def preset_remove(request: TenantRequest, preset_id: UUID) -> HttpResponse:
    """Remove a preset and show the list."""
    presets.remove(actor=request.actor, preset_id=preset_id)
    messages.success(request, "Removed. Jobs launched from it stay.")
    return redirect("saved-launches", request.tenant.slug)
