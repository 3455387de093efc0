"""The console's page of tax rates: all of them, one to enter, and the end of one."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from billing.forms.taxes import EndRateForm, TaxRateForm
from billing.invoices import parties
from billing.queries.books import meters_under
from billing.taxes import queries, table
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.web.form_posts import done


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("prices.view")
def tax_rates_page(request: OperatorRequest) -> HttpResponse:
    """List all rates, and enter one."""
    bound = request.method == "POST"
    if bound:
        request.operator.require("prices.manage")
    form = TaxRateForm(request.POST if bound else None, meters=_meters())
    if bound and done(
        form, lambda: table.enter(operator=request.operator, rate=form.rate, reason=form.cleaned_data["reason"])
    ):
        messages.success(request, "The rate is entered. Drafts follow it; finalised invoices keep their tax.")
        return redirect("operator-tax-rates")
    return _render(request, form=form)


@require_POST
@operator_page("prices.manage")
def tax_rate_end(request: OperatorRequest, rate_id: UUID) -> HttpResponse:
    """End a rate."""
    form = EndRateForm(request.POST)
    if done(form, lambda: table.end(operator=request.operator, rate_id=rate_id, **form.cleaned_data)):
        messages.success(request, "The rate ends.")
        return redirect("operator-tax-rates")
    return _render(request, ending=rate_id, end_form=form)


def _render(
    request: OperatorRequest, *, form: TaxRateForm | None = None, end_form: EndRateForm | None = None, **given: Any
) -> HttpResponse:
    refused = bool(end_form or (form and form.errors))
    titles = dict(_meters())
    context = {
        "rows": [(row, titles.get(row.product, row.product)) for row in queries.tax_rates()],
        "form": form or TaxRateForm(meters=list(titles.items())),
        "end_form": end_form or EndRateForm(),
        "seller": parties.current_seller(),
        "may_manage": request.operator.can("prices.manage"),
        **given,
    }
    return render(request, "console/tax_rates.html", context, status=422 if refused else 200)


def _meters() -> list[tuple[str, str]]:
    """Return key and title of each meter that may have a rate: the platform's, then those of organisations."""
    return [(one.key, one.title) for one in meters_under()]
