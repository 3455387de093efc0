"""The console's page of a what-if: a month of an organisation as it is beside what it would come to."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing.exchange.queries import convertible_to
from billing.forms.what_if import WhatIfForm
from billing.pricing.what_if import Compared, last_period, what_if
from billing.queries import books
from billing.views.agreements.what_if import month_in, words
from billing.views.invoices import short_name
from tenants.errors import ExchequerError, NotFound, PermissionDenied
from tenants.isolation.scoping import tenant_scope
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.web.form_posts import explain


@require_safe
@operator_page("prices.manage")
def what_if_page(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Show the form, and with a query what it comes to; nothing is written."""
    tenant, contracts = books.contracts_of(tenant_id)
    with tenant_scope(tenant_id):
        month = month_in(request.GET) or last_period()
    # The contract of the month that is compared; its bill is in its currency, and prices in others are converted to that.
    agreed = next((one for one in contracts if one.starts_on <= month), None)
    currency = agreed.currency if agreed else tenant.currency
    payable = {currency, *convertible_to(currency)}
    options = [book for book in books.books() if book.currency in payable]
    asked = request.GET if request.GET else None
    form = WhatIfForm(asked, currency=currency, books=options, meters=books.meters_of(tenant_id), contract=agreed)
    found: Compared | None = None
    if asked is not None and form.is_valid():
        try:
            found = what_if(
                operator=request.operator,
                tenant_ids=[tenant_id],
                assumed=form.assumed,
                period=form.cleaned_data["month"],
            )[0]
        except (NotFound, PermissionDenied):
            raise
        except ExchequerError as refused:
            explain(form, refused)
    ids = {one.line.project_id for one in found.lines if one.line.project_id} if found else set()
    names = {one: short_name(one) for one in ids}
    context = {
        "organisation": tenant,
        "form": form,
        "found": found,
        "rows": [(words(one, found, names), one) for one in found.lines] if found else [],
        "advanced": bool(form.initial.get("terms") or request.GET.get("terms")),
    }
    return render(request, "console/what_if.html", context, status=422 if form.errors else 200)
