"""The console's page of an organisation's wallet: its credit, a grant, and what is taken back of one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from billing.forms.wallets import GrantForm
from billing.views.wallets import MOVES
from billing.wallets import granting, queries
from tenants.errors import ExchequerError, NotFound, PermissionDenied
from tenants.isolation.scoping import tenant_scope
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.web.form_posts import done

MOVEMENTS = 50


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("invoices.view")
def wallet_page(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Show an organisation's wallet, and grant credit."""
    if request.method == "POST":
        request.operator.require("invoices.manage")
    return _render(request, tenant_id, bound=request.method == "POST")


@require_POST
@operator_page("invoices.manage")
def credit_withdraw(request: OperatorRequest, tenant_id: UUID, block_id: UUID) -> HttpResponse:
    """Take back what is left of promotional credit."""
    reason = request.POST.get("reason", "")
    try:
        granting.withdraw(operator=request.operator, tenant_id=tenant_id, block_id=block_id, reason=reason)
    except (NotFound, PermissionDenied):
        raise
    except ExchequerError as refused:
        return _render(request, tenant_id, refused=refused.message, status=refused.status)
    messages.success(request, "What was left of the credit is withdrawn.")
    return redirect("operator-wallet", tenant_id)


def _render(
    request: OperatorRequest, tenant_id: UUID, *, bound: bool = False, status: int = 200, **given: Any
) -> HttpResponse:
    tenant, view = queries.wallet_of(tenant_id)
    form = GrantForm(request.POST if bound else None, currency=view.currency)
    if bound and done(
        form,
        lambda: granting.grant(
            operator=request.operator, tenant_id=tenant_id, given=form.given, reason=form.cleaned_data["reason"]
        ),
    ):
        messages.success(request, "The credit is granted.")
        return redirect("operator-wallet", tenant_id)
    with tenant_scope(tenant_id):
        movements = queries.movements(limit=MOVEMENTS)
    context = {
        "organisation": tenant,
        "wallet": view,
        "movements": movements,
        "moves": MOVES,
        "form": form,
        "may_manage": request.operator.can("invoices.manage"),
        **given,
    }
    return render(request, "console/wallet.html", context, status=422 if form.errors else status)
