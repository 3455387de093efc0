"""The page of an organisation's own what-if: a month as it is beside what it would be under other terms of its contract."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing.forms.what_if import OwnWhatIfForm
from billing.pricing.what_if import Compared, last_period, what_if_of_own
from billing.queries.calendar import tenant_today
from billing.queries.drafts import contract_in
from billing.rating.billed.differences import Change
from tenants.errors import ExchequerError, Invalid, PermissionDenied
from tenants.models import Project
from tenants.parsing import parse_month
from tenants.projects.sight import named
from tenants.web.form_posts import explain
from tenants.web.requests import TenantRequest
from tenants.web.views import page


@require_safe
@page("invoices.view")
def own_what_if_page(request: TenantRequest) -> HttpResponse:
    """Show the form, and with a query what it comes to; nothing is written."""
    agreed = contract_in(month_in(request.GET) or last_period())
    asked = request.GET if request.GET else None
    currency = agreed.currency if agreed else tenant_today().currency
    form = OwnWhatIfForm(asked, currency=currency, agreed=agreed.terms if agreed else {})
    found: Compared | None = None
    if asked is not None and form.is_valid():
        try:
            found = what_if_of_own(actor=request.actor, changed=form.changed, period=form.cleaned_data["month"])
        except PermissionDenied:
            raise
        except ExchequerError as refused:
            explain(form, refused)
    names = _names(found) if found else {}
    context = {
        "form": form,
        "found": found,
        "rows": [(words(one, found, names), one) for one in found.lines] if found else [],
    }
    return render(request, "billing/what_if.html", context, status=422 if form.errors else 200)


def month_in(asked: Mapping[str, str]) -> date | None:
    """Return the month that is asked for; the form marks a text that is none."""
    try:
        return parse_month(asked.get("month", ""))
    except Invalid:
        return None


def words(change: Change, found: Compared, names: dict[UUID, str]) -> str:
    """Return what a row is about: a project's use of a meter, or a term."""
    line = change.line
    parts = [found.titles.get(line.meter, line.meter)] if line.meter else []
    parts += [names[line.project_id]] if line.project_id in names else []
    parts += [f"corrects {line.origin:%B %Y}"] if line.origin else []
    if not line.term:
        return ", ".join(parts)
    kind = line.kind.value.replace("_", " ").capitalize()
    named = kind if line.term in line.kind.value else f"{kind}: {line.term}"  # a simple term has no other name
    return named + (f" ({', '.join(parts)})" if parts else "")


def _names(found: Compared) -> dict[UUID, str]:
    ids = {one.line.project_id for one in found.lines if one.line.project_id}
    return dict(Project.objects.filter(named("id"), id__in=ids).values_list("id", "name"))
