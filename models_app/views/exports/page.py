"""List exports of the organisation, order one, and download it."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from models_app.exports.exports import download
from models_app.files import downloads
from tenants import exports
from tenants.web.pagination import before, paged
from tenants.web.requests import TenantRequest
from tenants.web.views import page

PAGE = 50


@require_safe
@page(exports.ORDERS)
def exports_page(request: TenantRequest) -> HttpResponse:
    """List the organisation's exports, newest first."""
    return _listed(request)


@require_POST
@page(exports.ORDERS)
def export_order(request: TenantRequest) -> HttpResponse:
    """Order an export."""
    try:
        exports.order(actor=request.actor, without_files="without_files" in request.POST)
    except exports.ExportRuns as runs:
        return _listed(request, refused=runs.message, status=runs.status)
    messages.success(request, "The export is ordered. The owners are notified when it is ready.")
    return redirect("exports", request.tenant.slug)


@require_safe
@page(exports.ORDERS, own_transaction=True)
def export_download(request: TenantRequest, export_id: UUID) -> HttpResponseBase:
    """Return the archive as a download."""
    return downloads.answer(request, request.actor, lambda: download(export_id))


def _listed(request: TenantRequest, *, refused: str = "", status: int = 200) -> HttpResponse:
    rows = exports.exports(before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    runs = any(row.state in ("queued", "running") for row in shown)
    context = {"rows": shown, "runs": runs, "refused": refused, **links}
    return render(request, "models_app/exports.html", context, status=status)
