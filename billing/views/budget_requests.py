"""Ask for a higher budget; a second person answers it on the page Approvals."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from billing import queries
from billing.budgets import requests
from billing.forms.budgets import BudgetRequest
from tenants.errors import ExchequerError
from tenants.web.form_posts import explain
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_http_methods(["GET", "HEAD", "POST"])
@page("approvals.request")
def budget_request(request: TenantRequest, budget_id: UUID) -> HttpResponse:
    """Ask for a higher amount of a budget, permanently or for its running period."""
    status = queries.budget(budget_id)
    request.actor.require("approvals.request", status)
    form = BudgetRequest(request.POST or None, currency=status.currency, length=status.length)
    if request.method == "POST" and form.is_valid():
        try:
            requests.request(actor=request.actor, budget_id=budget_id, **form.cleaned_data)
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, "Request sent. You are notified when it is answered.")
            return redirect("approvals", request.tenant.slug)
    context = {"form": form, "budget": status}
    return render(request, "billing/budget_request.html", context, status=422 if form.errors else 200)
