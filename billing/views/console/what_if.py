"""The console's page of a what-if: a month of an organisation as it is beside what it would come to."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing.forms.what_if import WhatIfForm
from billing.pricing.what_if import Compared, what_if
from billing.queries import books
from billing.rating.billed.differences import Change
from billing.views.invoices import short_name
from tenants.errors import ExchequerError, NotFound, PermissionDenied
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.web.form_posts import explain


@require_safe
@operator_page("prices.manage")
def what_if_page(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Show the form, and with a query what it comes to; nothing is written."""
    tenant, contracts = books.contracts_of(tenant_id)
    options = [book for book in books.books() if book.currency == tenant.currency]
    now = next((one for one in contracts if one.state == "in_force"), None)
    asked = request.GET if request.GET else None
    form = WhatIfForm(asked, currency=tenant.currency, books=options, meters=books.meters_of(tenant_id), contract=now)
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
    context = {
        "organisation": tenant,
        "form": form,
        "found": found,
        "rows": [(_words(one, found), one) for one in found.lines] if found else [],
        "advanced": bool(form.initial.get("terms") or request.GET.get("terms")),
    }
    return render(request, "console/what_if.html", context, status=422 if form.errors else 200)


def _words(change: Change, found: Compared) -> str:
    """Return what a row is about: a project's use of a meter, or a term."""
    line = change.line
    named = [found.titles.get(line.meter, line.meter)] if line.meter else []
    named += [short_name(line.project_id)] if line.project_id else []
    named += [f"corrects {line.origin:%B %Y}"] if line.origin else []
    if not line.term:
        return ", ".join(named)
    kind = line.kind.value.replace("_", " ").capitalize()
    return f"{kind}: {line.term}" + (f" ({', '.join(named)})" if named else "")
