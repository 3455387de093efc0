"""The console's looks inside tenants: the list, asking for one, answering another's, opening and ending one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from tenants.errors import ExchequerError, NotFound, PermissionDenied
from tenants.operators import tenant_details
from tenants.operators.glass import looks, queries
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.views.console.forms import Look
from tenants.web.form_posts import explain
from tenants.web.pagination import before, paged

PAGE = 50


@require_safe
@operator_page("log.view")
def looks_page(request: OperatorRequest) -> HttpResponse:
    """List the looks inside all tenants, newest first."""
    return _listed(request)


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page(looks.LOOKS)
def look_new(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Show the form of a look inside a tenant, and ask for it."""
    organisation = tenant_details.tenant_of(tenant_id)
    form = Look(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            asked = looks.ask(operator=request.operator, tenant_id=tenant_id, **form.cleaned_data)
        except (NotFound, PermissionDenied):
            raise
        except ExchequerError as refused:
            explain(form, refused)
        else:
            said = "A second operator answers it." if asked.needs_second else "It has begun; the owners are notified."
            messages.success(request, said)
            return redirect("operator-looks")
    context = {
        "form": form,
        "organisation": organisation,
        "rows": queries.looks(request.operator, tenant_id=tenant_id, limit=PAGE)[:PAGE],
        "alone": looks.ALONE if "platform_admin" in request.operator.roles else 0,
    }
    return render(request, "console/look_new.html", context, status=422 if form.errors else 200)


@require_POST
@operator_page(looks.LOOKS)
def look_open(request: OperatorRequest, look_id: UUID) -> HttpResponse:
    """Show the link to the tenants' site that opens the look once: a form may not lead to another site."""
    try:
        ticket = looks.ticket(operator=request.operator, look_id=look_id)
    except looks.NotOpen as over:
        return _listed(request, refused=over.message, status=over.status)
    url = f"{settings.EXCHEQUER.effective_public_url}/look-inside/?{urlencode({'ticket': ticket})}"
    return render(request, "console/look_ticket.html", {"url": url})


@require_POST
@operator_page(looks.LOOKS)
def look_end(request: OperatorRequest, look_id: UUID) -> HttpResponse:
    """End a look at once."""
    try:
        looks.end(operator=request.operator, look_id=look_id)
    except looks.NotOpen as over:
        return _listed(request, refused=over.message, status=over.status)
    messages.success(request, "The look has ended. Its browser reads nothing more.")
    return redirect("operator-looks")


@require_POST
@operator_page("tenants.manage")
def look_answer(request: OperatorRequest, look_id: UUID) -> HttpResponse:
    """Let another operator's look begin, or decline it for a reason."""
    try:
        if request.POST.get("answer") == "approve":
            looks.approve(operator=request.operator, look_id=look_id)
            messages.success(request, "The look has begun; the owners are notified.")
        else:
            looks.decline(operator=request.operator, look_id=look_id, reason=request.POST.get("reason", ""))
            messages.success(request, "The look is declined.")
    except NotFound:
        raise
    except ExchequerError as refused:
        return _listed(request, refused=refused.message, status=refused.status)
    return redirect("operator-looks")


def _listed(request: OperatorRequest, *, status: int = 200, **given: Any) -> HttpResponse:
    rows = queries.looks(request.operator, before=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.id,))
    return render(request, "console/looks.html", {"rows": shown, **links, **given}, status=status)
