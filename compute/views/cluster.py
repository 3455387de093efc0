"""The console's page of the cluster's bill: a month by organisation and class, and the costs of device-hours that make it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from billing.cluster import costs, rules
from billing.cluster.split import COLUMNS, RULES
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


class RuleForm(ChoiceOfBill):
    """The rule to choose, and the month it begins with. A form only parses; operations decide."""

    month = MonthField(label="From the month on, UTC")
    reason = forms.CharField(label="Reason", max_length=400, help_text="It stands in the operator log.")
    field_order = ("rule", "month", "reason")


class WithdrawForm(forms.Form):
    """Why a cost is withdrawn."""

    reason = forms.CharField(label="Reason", max_length=400)


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
    return _shown(request, form)


@require_POST
@operator_page("prices.manage")
def cost_withdrawn(request: OperatorRequest, cost_id: UUID) -> HttpResponse:
    """Withdraw a cost."""
    form = WithdrawForm(request.POST)
    if done(form, lambda: costs.withdraw(operator=request.operator, cost_id=cost_id, **form.cleaned_data)):
        messages.success(request, "The cost is withdrawn. Bills have the one before it, or none.")
        return redirect("operator-cluster")
    return _shown(request, DeviceCostForm(), withdrawing=cost_id, withdrawal=form)


@require_POST
@operator_page("prices.manage")
def rule_chosen(request: OperatorRequest) -> HttpResponse:
    """Choose the rule from a month on."""
    form = RuleForm(request.POST, auto_id="rule_%s")
    if done(form, lambda: rules.choose(operator=request.operator, **form.cleaned_data)):
        messages.success(request, "The rule is chosen. Bills of months that are over keep theirs.")
        return redirect("operator-cluster")
    return _shown(request, DeviceCostForm(), rule_form=form)


def _shown(request: OperatorRequest, form: DeviceCostForm, **given: Any) -> HttpResponse:
    """Show the month of the address, or its file. `given` has a form that was refused, with what was typed."""
    chosen = ChoiceOfBill(request.GET)
    right = chosen.is_valid()
    month = chosen.cleaned_data.get("month") or period_of(now().date())
    in_force = rules.rule_of(month)
    rule = chosen.cleaned_data.get("rule") or in_force
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
        "in_force": RULE_WORDS[in_force],
        "rule_form": RuleForm(initial={"rule": rule, "month": f"{now():%Y-%m}"}, auto_id="rule_%s"),
        "costs": [(row, costs.is_withdrawn(row)) for row in shown],
        "form": form,
        "may_manage": request.operator.can("prices.manage"),
        **links,
        **given,
    }
    refused = form.errors or given or not right
    return render(request, "compute/cluster.html", context, status=422 if refused else 200)


def _exported(found: ClusterBill) -> Iterator[list[object]]:
    for one in found.rows:
        seconds = [one.seconds[name] for name in ("allocated", *COLUMNS)]
        amounts = [getattr(one.row, name).amount if found.total is not None else None for name in (*COLUMNS, "total")]
        currency = found.total.currency if found.total is not None else ""
        bearer = one.slug or one.name
        yield [f"{found.month:%Y-%m}", found.rule, one.device_class, bearer, *seconds, currency, *amounts]
