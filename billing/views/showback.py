"""Showback: what projects are shown for a month by the organisation's own prices, and the form of these prices."""

from __future__ import annotations

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from billing import queries
from billing.forms.prices import PricesForm
from billing.pricing import showback
from tenants.errors import ExchequerError
from tenants.fields.days import MonthField
from tenants.web.form_posts import explain
from tenants.web.pagination import csv_response, wants_csv
from tenants.web.requests import TenantRequest
from tenants.web.views import page

EXPORTED = ("month", "project", "cost", "shown", "difference", "currency")


class MonthForm(forms.Form):
    """The month to show."""

    month = MonthField(label="Month")


@require_safe
@page("invoices.view")
def showback_page(request: TenantRequest) -> HttpResponse:
    """Show each project's month by both prices; `?month=` another one, `?export=csv` for a file."""
    running = queries.tenant_today().period
    form = MonthForm({"month": request.GET.get("month") or f"{running:%Y-%m}"})
    is_file = wants_csv(request, form=form)
    month = form.cleaned_data["month"] if form.is_valid() else running
    rows = queries.showback(month)
    if is_file:
        amounts = (
            (f"{month:%Y-%m}", row.project, row.cost.amount, row.shown.amount, row.difference.amount, row.cost.currency)
            for row in rows
        )
        return csv_response(request, "showback", EXPORTED, amounts)
    context = {
        "form": form,
        "rows": rows,
        "month": month,
        "prices": queries.showback_prices(),
        "can_manage": request.actor.can("invoices.manage"),
    }
    return render(request, "billing/showback.html", context, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@page("invoices.manage")
def showback_prices(request: TenantRequest) -> HttpResponse:
    """Edit the showback book."""
    form = PricesForm(request.POST or None, prices=queries.showback_prices(), meters=queries.meters())
    if request.method == "POST" and form.is_valid():
        try:
            showback.set_prices(actor=request.actor, prices=form.prices)
        except ExchequerError as refused:
            explain(form, refused)
        else:
            messages.success(request, "Showback prices saved. Every month is shown by them.")
            return redirect("showback", request.tenant.slug)
    context = {"form": form, "currency": queries.tenant_today().currency}
    return render(request, "billing/showback_prices.html", context, status=422 if form.errors else 200)
