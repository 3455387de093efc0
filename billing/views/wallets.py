"""The wallet: balance, credit that expires soon, movements, a top-up, and the rule of automatic ones."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from billing.forms.wallets import RuleForm, TopUpForm
from billing.invoices import topping_up
from billing.queries.calendar import tenant_today
from billing.wallets import queries
from tenants.web.form_posts import done, redirect_get_to
from tenants.web.pagination import after, paged
from tenants.web.requests import TenantRequest
from tenants.web.views import page

MOVEMENTS = 25
#: What the ledger calls a movement, and pages.
MOVES = {
    "granted": "Granted",
    "top_up": "Top-up",
    "credited": "Credit note",
    "carried": "Carried over",
    "used": "Used by an invoice",
    "returned": "Returned by a void invoice",
    "expired": "Expired",
    "revoked": "Withdrawn",
    "refunded": "Returned to the payer",
    "disputed": "Taken back by the payer's bank",
    "won_back": "Given back by the payer's bank",
}


@require_safe
@page("invoices.view")
def wallet_page(request: TenantRequest) -> HttpResponse:
    """Show the wallet."""
    return _render(request)


@page("invoices.manage")
@redirect_get_to("wallet")
def wallet_top_up(request: TenantRequest) -> HttpResponse:
    """Ask for a top-up."""
    form = TopUpForm(request.POST, currency=tenant_today().currency)

    def ask() -> None:
        topping_up.ask(actor=request.actor, amount=form.cleaned_data["amount"])

    if done(form, ask):
        messages.success(request, "The invoice of your top-up is being made. The wallet is filled when it is paid.")
        return redirect("wallet", request.tenant.slug)
    return _render(request, top_up=form)


@page("invoices.manage")
@redirect_get_to("wallet")
def wallet_rule(request: TenantRequest) -> HttpResponse:
    """Set when the wallet is topped up by itself, or switch that off."""
    form = RuleForm.of(request.POST, tenant_today().currency, None)
    if "off" in request.POST:
        topping_up.change_rule(actor=request.actor, rule=None)
        messages.success(request, "The wallet is topped up by hand only.")
        return redirect("wallet", request.tenant.slug)
    if done(form, lambda: topping_up.change_rule(actor=request.actor, rule=form.rule)):
        messages.success(request, "The wallet is topped up by itself from now.")
        return redirect("wallet", request.tenant.slug)
    return _render(request, rule=form)


def _render(request: TenantRequest, *, top_up: TopUpForm | None = None, rule: RuleForm | None = None) -> HttpResponse:
    view = queries.wallet()
    keys = after(request, datetime.fromisoformat, UUID)
    rows = queries.movements(after=(keys[0], keys[1]) if keys else None, limit=MOVEMENTS + 1)
    movements, links = paged(request, rows, MOVEMENTS, lambda row: (row.at, row.id))
    context = {
        "wallet": view,
        "movements": movements,
        "moves": MOVES,
        "can_manage": request.actor.can("invoices.manage"),
        "top_up_form": top_up or TopUpForm(currency=view.currency),
        "rule_form": rule or RuleForm.of(None, view.currency, view.automatic),
        **links,
    }
    refused = (top_up is not None and top_up.errors) or (rule is not None and rule.errors)
    return render(request, "billing/wallet.html", context, status=422 if refused else 200)
