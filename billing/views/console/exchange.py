"""The console's page of exchange rates: all of them, and one to enter."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from billing.exchange import queries, table
from billing.forms.exchange import ExchangeRateForm
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.web.form_posts import done
from tenants.web.pagination import before, paged

PAGE = 50


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("prices.view")
def exchange_rates_page(request: OperatorRequest) -> HttpResponse:
    """List all rates, and enter one."""
    bound = request.method == "POST"
    if bound:
        request.operator.require("prices.manage")
    form = ExchangeRateForm(request.POST if bound else None)
    if bound and done(
        form, lambda: table.enter(operator=request.operator, new=form.new, reason=form.cleaned_data["reason"])
    ):
        messages.success(request, "The rate is entered. Usage from its start on is converted by it.")
        return redirect("operator-exchange-rates")
    rows = queries.exchange_rates(after=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (str(row.id),))
    context = {"rows": shown, "form": form, "may_manage": request.operator.can("prices.manage"), **links}
    return render(request, "console/exchange_rates.html", context, status=422 if form.errors else 200)
