"""The console's page of the cluster's bill: a month by organisation and class, and the costs of device-hours that make it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from billing.cluster import costs
from billing.cluster.split import COLUMNS, PROPORTIONAL, RULES
from billing.forms.fields import FractionField
from billing.rating.calendar import period_of
from compute.cluster.bill import ClusterBill, cluster_bill
from tenants.clock import now
from tenants.errors import Invalid
from tenants.fields.codes import CapitalField
from tenants.fields.days import DayField, MonthField
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.web.form_posts import done
from tenants.web.pagination import before, csv_response, paged, refuse_unknown

PAGE = 50
RULE_WORDS = {
    "proportional": "By allocation",
    "even": "Evenly",
    "guaranteed": "By guarantee",
    "platform": "Platform bears it",
}
EXPORTED = [
    "month", "rule", "device_class", "organisation", *(f"{name}_s" for name in ("allocated", *COLUMNS)), "currency",
    *(f"{name}_cost" for name in COLUMNS), "total",
]  # fmt: skip


class ChoiceOfBill(forms.Form):
    """The month and the rule to show."""

    month = MonthField(label="Month, UTC", required=False)
    rule = forms.ChoiceField(
        label="Held and free time", required=False, choices=[(name, RULE_WORDS[name]) for name in RULES]
    )


class DeviceCostForm(forms.Form):
    """A cost to enter. A form only parses; operations decide."""

    device_class = forms.CharField(label="Class of device", max_length=80, help_text="As Fleet shows it, such as cpu.")
    per_hour = FractionField(label="An hour costs", max_digits=38, decimal_places=12)
    currency = CapitalField(label="Currency", max_length=3, help_text="The same for all classes.")
    starts_on = DayField(
        label="From",
        help_text="From midnight, in UTC. The first cost of a class may begin in the past, a later one tomorrow.",
    )
    reason = forms.CharField(label="Reason", max_length=400, help_text="It stands in the operator log.")

    @property
    def new(self) -> costs.NewDeviceCost:
        """The cost of a valid form."""
        return costs.NewDeviceCost(**{name: value for name, value in self.cleaned_data.items() if name != "reason"})


@require_http_methods(["GET", "HEAD", "POST"])
@operator_page("prices.view")
def cluster_page(request: OperatorRequest) -> HttpResponse:
    """Show a month by `?month=` and `?rule=`, `?export=csv` for a file. A POST enters a cost."""
    bound = request.method == "POST"
    if bound:
        request.operator.require("prices.manage")
    form = DeviceCostForm(request.POST if bound else None)
    if bound and done(
        form, lambda: costs.enter(operator=request.operator, new=form.new, reason=form.cleaned_data["reason"])
    ):
        messages.success(request, "The cost is entered. It prices nothing that organisations are billed.")
        return redirect("operator-cluster")
    chosen = ChoiceOfBill(request.GET)
    right = chosen.is_valid()
    month = chosen.cleaned_data.get("month") or period_of(now().date())
    rule = chosen.cleaned_data.get("rule") or PROPORTIONAL
    if request.GET.get("export") == "csv":
        refuse_unknown(request, "month", "rule", "export")
        if not right:
            raise Invalid(fields={name: [str(text) for text in texts] for name, texts in chosen.errors.items()})
        found = cluster_bill(month, rule)
        return csv_response(request, f"cluster-{month:%Y-%m}", EXPORTED, _exported(found))
    rows = costs.costs(after=before(request, UUID), limit=PAGE)
    shown, links = paged(request, rows, PAGE, lambda row: (str(row.pk),))
    context: dict[str, Any] = {
        "choice": chosen if not right else ChoiceOfBill({"month": f"{month:%Y-%m}", "rule": rule}),
        "found": cluster_bill(month, rule),
        "costs": shown,
        "form": form,
        "may_manage": request.operator.can("prices.manage"),
        **links,
    }
    return render(request, "compute/cluster.html", context, status=422 if form.errors or not right else 200)


def _exported(found: ClusterBill) -> Iterator[list[object]]:
    for one in found.rows:
        seconds = [one.seconds[name] for name in ("allocated", *COLUMNS)]
        amounts = [getattr(one.row, name).amount if found.total is not None else None for name in (*COLUMNS, "total")]
        currency = found.total.currency if found.total is not None else ""
        bearer = one.slug or one.name
        yield [f"{found.month:%Y-%m}", found.rule, one.device_class, bearer, *seconds, currency, *amounts]
