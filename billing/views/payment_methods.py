"""The page of payment methods: what is saved at the payment provider, and whether invoices are charged to it."""

from __future__ import annotations

from django.conf import settings
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from billing.collecting import methods
from billing.invoices import parties
from billing.models import PaymentAccount
from billing.payments.chosen import payment_gateway
from tenants.errors import ExchequerError, NotFound, PermissionDenied
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_safe
@page("invoices.view")
def payment_methods(request: TenantRequest) -> HttpResponse:
    """Show the saved payment methods as they were read last; `?saved=1`: one was just saved at the provider's page."""
    account = PaymentAccount.objects.first()
    context = {
        "methods": account.methods if account else [],
        "autopay": bool(account and account.autopay),
        "saved": "saved" in request.GET and bool(account and account.look_at),
        "provider": payment_gateway().collects,
        "may_manage": request.actor.can("invoices.manage"),
        "how_to_pay": parties.current_seller().how_to_pay,
    }
    return render(request, "billing/payment_methods.html", context)


@require_POST
@page("invoices.manage", own_transaction=True)
def payment_methods_change(request: TenantRequest) -> HttpResponse:
    """Add, choose or remove a payment method, or switch charges on or off: `act` says which."""
    here = reverse("payment-methods", args=[request.tenant.slug])
    act, method = request.POST.get("act", ""), request.POST.get("method", "")[:120]
    try:
        if act == "add":
            return redirect(
                methods.page_to_add(actor=request.actor, back=f"{settings.EXCHEQUER.effective_public_url}{here}")
            )
        if act == "default":
            methods.choose_default(actor=request.actor, method=method)
        elif act == "remove":
            methods.remove(actor=request.actor, method=method)
        elif act in ("on", "off"):
            methods.set_autopay(actor=request.actor, wanted=act == "on")
    except (NotFound, PermissionDenied):
        raise
    except ExchequerError as refused:
        messages.error(request, refused.message)
    return redirect(here)
