"""The page of cost exports: a month or a range of days, the columns, and the format of the file."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.views.decorators.http import require_safe

from billing.exports import downloads
from billing.exports.documents import MOST_MONTHS, Days
from billing.exports.downloads import Asked
from billing.exports.profiles import INVOICE_DETAIL
from billing.exports.spooled import file_response, headers
from billing.queries.calendar import tenant_today
from billing.rating.calendar import next_period
from tenants.errors import Invalid
from tenants.fields.days import MonthField
from tenants.isolation.scoping import tenant_scope
from tenants.web.pagination import refuse_unknown
from tenants.web.requests import TenantRequest
from tenants.web.views import page

COLUMNS = (
    ("1.2", "FOCUS 1.2"),
    ("1.4", "FOCUS 1.4"),
    (INVOICE_DETAIL, "FOCUS 1.4 Invoice Detail"),
    ("plain", "Plain table"),
)
FORMS = (("csv", "CSV"), ("parquet", "Parquet"))
GRAINS = (("day", "By day"), ("hour", "By hour"))


class ExportForm(forms.Form):
    """What to export."""

    since = MonthField(label="First month")
    until = MonthField(
        label="Last month",
        required=False,
        help_text=f"Empty: only the first month. At most {MOST_MONTHS} months.",
    )
    version = forms.ChoiceField(label="Columns", choices=COLUMNS)
    format = forms.ChoiceField(label="Format", choices=FORMS)
    granularity = forms.ChoiceField(label="Usage", choices=GRAINS)

    def clean(self) -> dict[str, Any]:
        """Read the months."""
        found: dict[str, Any] = super().clean() or {}
        try:
            first = found.get("since")
            last = found.get("until") or first
            if first and last and not self.errors:
                days = Days(first, next_period(last), found.get("granularity", "day"))
                if days.end <= days.first:
                    raise Invalid(fields={"until": ["Choose a month that is not before the first one."]})
                days.check()
                found["days"] = days
        except Invalid as refused:
            for name, texts in refused.fields.items():
                self.add_error("until" if name == "to" else name, texts)
        return found


@require_safe
@page("invoices.view")
def cost_exports(request: TenantRequest) -> HttpResponse:
    """Show the form of an export."""
    month = f"{tenant_today().period:%Y-%m}"
    return render(request, "billing/cost_exports.html", {"form": ExportForm(initial={"since": month})})


@require_safe
@page("invoices.view", own_transaction=True)
def cost_export(request: TenantRequest) -> HttpResponseBase:
    """Download an export; without a month that of the running one. What is wrong is shown on the form."""
    with tenant_scope(request.tenant.id):
        form = ExportForm(_given(request))
        if not form.is_valid():
            return render(request, "billing/cost_exports.html", {"form": form}, status=422)
    data = form.cleaned_data
    asked = Asked(days=data["days"], version=data["version"], form=data["format"])
    if request.method == "HEAD":
        return HttpResponse(headers=headers(asked.filename, asked.form))
    return file_response(downloads.taken(actor=request.actor, asked=asked), asked.filename, asked.form)


def _given(request: TenantRequest) -> dict[str, str]:
    refuse_unknown(request, *ExportForm.base_fields)
    given = {"version": "1.2", "format": "csv", "granularity": "day", "since": f"{tenant_today().period:%Y-%m}"}
    return given | {name: str(value) for name, value in request.GET.items() if value}
