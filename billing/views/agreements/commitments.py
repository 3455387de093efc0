"""What the contract commits the organisation to, and how far the running month is."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing.pricing.commitments import SAVINGS_PLAN, commitments
from billing.queries.calendar import tenant_today
from billing.queries.prices import contracts
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_safe
@page("invoices.view")
def commitments_page(request: TenantRequest) -> HttpResponse:
    """Show savings plans with coverage and utilisation, and what commitments and minimums lack."""
    found = commitments()
    context = {
        "plans": [one for one in found if one.kind == SAVINGS_PLAN],
        "promises": [one for one in found if one.kind != SAVINGS_PLAN],
        "period": tenant_today().period,
        "coming": next((one for one in contracts() if one.state == "coming" and one.agreed), None),
    }
    return render(request, "billing/commitments.html", context)
