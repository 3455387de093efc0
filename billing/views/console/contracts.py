"""The console's contracts: the list over all tenants, and one tenant's with the next one to agree on."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing.exchange.queries import convertible_to
from billing.forms.console import BillingDetailsForm, NextContract, OtherCurrency
from billing.pricing import contracts
from billing.pricing.billing_details import BillingDetails, change_details
from billing.pricing.currency_changes import preview
from billing.queries import books
from tenants.errors import ExchequerError, NotFound, PermissionDenied
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.web.form_posts import done, explain
from tenants.web.pagination import before, paged

PAGE = 50


@require_safe
@operator_page("prices.view")
def contracts_page(request: OperatorRequest) -> HttpResponse:
    """List the contracts that run or are to begin."""
    rows = books.contract_rows(after=before(request, str) or "", limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (row.slug,))
    return render(request, "console/contracts.html", {"rows": shown, **links})


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("prices.view")
def contract_page(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Show a tenant's contracts, and agree on the next one."""
    if request.method == "POST":
        request.operator.require("prices.manage")
    return _render(request, tenant_id, bound=request.method == "POST")


@require_POST
@operator_page("prices.manage")
def contract_withdraw(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Withdraw the contract that has not begun."""
    try:
        contracts.withdraw(operator=request.operator, tenant_id=tenant_id, reason=request.POST.get("reason", ""))
    except (NotFound, PermissionDenied):
        raise
    except ExchequerError as refused:
        return _render(request, tenant_id, refused=refused.message, status=refused.status)
    messages.success(request, "The contract is withdrawn; the one before it goes on.")
    return redirect("operator-contract", tenant_id)


@require_POST
@operator_page("prices.manage")
def billing_details(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Change to whom a tenant's invoices go."""
    form = BillingDetailsForm(request.POST)
    if done(form, lambda: _change_details(request, tenant_id, dict(form.cleaned_data))):
        messages.success(request, "The billing details are changed. Drafts follow; finalised invoices stay.")
        return redirect("operator-contract", tenant_id)
    return _render(request, tenant_id, details=form, status=422)


def _change_details(request: OperatorRequest, tenant_id: UUID, data: dict[str, Any]) -> None:
    reason = data.pop("reason")
    change_details(operator=request.operator, tenant_id=tenant_id, details=BillingDetails(**data), reason=reason)


def _render(
    request: OperatorRequest, tenant_id: UUID, *, bound: bool = False, status: int = 200, **given: Any
) -> HttpResponse:
    tenant, found = books.contracts_of(tenant_id)
    months, last = contracts.months_ahead(tenant), found[0] if found else None
    begun = [one for one in found if one.state != "coming"]
    paid_in = begun[0].currency if begun else tenant.currency
    asked = request.POST.get("currency") if bound else request.GET.get("currency")
    other = OtherCurrency({"currency": asked}) if asked and asked != paid_in else OtherCurrency()
    currency = str(other.cleaned_data["currency"]) if other.is_bound and other.is_valid() else paid_in
    payable = {currency, *convertible_to(currency)}
    options = [book for book in books.books() if book.currency in payable]
    form = NextContract(
        request.POST if bound else None,
        currency=currency,
        books=options,
        months=months,
        meters=books.meters_of(tenant_id),
        last=last,
    )
    if bound and form.is_valid():
        try:
            contracts.agree(operator=request.operator, tenant_id=tenant_id, **form.agreed)
        except NotFound:
            raise
        except ExchequerError as refused:
            explain(form, refused)
            for text in form.errors.pop("currency", ()):  # its field is hidden
                form.add_error(None, text)
        else:
            messages.success(request, "The contract is agreed. The one before it ends when it begins.")
            return redirect("operator-contract", tenant_id)
    context = {
        "organisation": tenant,
        "contracts": found,
        "months": books.months_of(tenant),
        "form": form,
        "details": BillingDetailsForm(initial=asdict(last)) if last else None,
        "other": other,
        "paid_in": paid_in,
        "change": preview(tenant, currency, months[0]) if currency != paid_in else None,
        "advanced": bool(form.initial.get("terms") or request.POST.get("terms")),
        "may_manage": request.operator.can("prices.manage"),
        "coming": any(one.state == "coming" for one in found),
        **given,
    }
    return render(request, "console/contract.html", context, status=422 if form.errors else status)
