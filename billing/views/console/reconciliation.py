"""Organisations in the console whose events, rated usage, lines, ledger and payments differ, and comparing them again."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from billing.reconciling import orders
from billing.reconciling.queries import reconciled
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.web.pagination import after, paged

PAGE = 50


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("invoices.view")
def reconciliation_page(request: OperatorRequest) -> HttpResponse:
    """List whose figures differ, and how; a POST orders the comparison of all figures."""
    if request.method == "POST":
        orders.order(operator=request.operator, tenant_id=None)
        messages.success(request, "The comparison is ordered. What it finds appears here.")
        return redirect("operator-reconciliation")
    place = after(request, str)
    rows = reconciled(after=place[0] if place else None, limit=PAGE + 1, differing=True)
    shown, links = paged(request, rows, PAGE, lambda row: (row.tenant_slug,))
    context = {"rows": shown, "may_manage": request.operator.can("invoices.manage"), **links}
    return render(request, "console/reconciliation.html", context)
