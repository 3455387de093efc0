"""The pages that try a change of quotas on past jobs before it is saved: a tenant's own, and the console's."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from compute import queries
from tenants import queries as tenancy
from tenants.errors import ExchequerError, Invalid
from tenants.operators import tenant_details
from tenants.operators.pages import OperatorRequest, operator_page
from tenants.parsing import uuid_in
from tenants.web.requests import TenantRequest
from tenants.web.views import page

MOST = 10**6


class ShareForm(forms.Form):
    """A change to try on devices of a class: the new limit, guaranteed part and weight."""

    device_class = forms.ChoiceField(label="Devices")
    limit = forms.IntegerField(label="Limit", required=False, min_value=0, max_value=MOST, help_text="Empty: no limit.")
    guaranteed = forms.IntegerField(
        label="Guaranteed part",
        required=False,
        min_value=0,
        max_value=MOST,
        help_text="It comes before the work of others.",
    )
    weight = forms.IntegerField(
        label="Weight", required=False, min_value=1, max_value=MOST, help_text="The share when others compete."
    )

    def __init__(self, data: Any, *, classes: Iterable[str]) -> None:
        super().__init__(data)
        self.fields["device_class"].choices = [(name, queries.class_title(name)) for name in classes]  # type: ignore[attr-defined]

    def share(self) -> dict[str, Any]:
        """Return class, limit, guaranteed part and weight of a valid form."""
        data = self.cleaned_data
        return {
            "device_class": data["device_class"],
            "limit": data["limit"],
            "guaranteed": data["guaranteed"] or 0,
            "weight": data["weight"] or 1,
        }

    def blame(self, fault: Invalid) -> None:
        """Attach each message of a refusal to its field."""
        for name, texts in fault.fields.items():
            self.add_error(name if name in self.fields else None, texts)


class QuotaSimulationForm(ShareForm):
    """A change to try, of a project or of the organisation, which has a limit alone."""

    project = forms.ChoiceField(label="Whose", required=False)

    def __init__(self, data: Any, *, classes: Iterable[str], projects: list[tuple[str, str]]) -> None:
        super().__init__(data, classes=classes)
        self.fields["project"].choices = [("", "The organisation"), *projects]  # type: ignore[attr-defined]


@require_safe
@page("quotas.manage")
def quota_simulation(request: TenantRequest) -> HttpResponse:
    """Show the form, and with `?device_class=` what the change would have done to the jobs of the last 30 days."""
    asked = bool(request.GET.get("device_class"))
    form = QuotaSimulationForm(
        request.GET if asked else None,
        classes=[row.device_class for row in queries.device_classes()],
        projects=[(str(one.id), one.name) for one in tenancy.projects()],
    )
    found, refused = None, ""
    if asked and form.is_valid():
        try:
            project = uuid_in(form.cleaned_data["project"])
            found = queries.simulate_quotas(queries.Wanted(project_id=project, **form.share()))
        except Invalid as fault:
            form.blame(fault)
        except ExchequerError as fault:
            refused = fault.message
    context = {"form": form, "found": found, "refused": refused}
    return render(request, "compute/quota_simulation.html", context, status=422 if form.errors or refused else 200)


@require_safe
@operator_page("quotas.manage")
def ceiling_simulation(request: OperatorRequest, tenant_id: UUID) -> HttpResponse:
    """Show the console's form for one organisation, and what the change would have done to the jobs of all."""
    organisation = tenant_details.details(tenant_id).tenant
    asked, found = bool(request.GET.get("device_class")), None
    form = ShareForm(request.GET if asked else None, classes=queries.ready_classes())
    if asked and form.is_valid():
        try:
            found = queries.simulate_ceiling(queries.WantedCeiling(tenant_id=tenant_id, **form.share()))
        except Invalid as fault:
            form.blame(fault)
    context = {"form": form, "found": found, "organisation": organisation}
    return render(request, "console/quota_simulation.html", context, status=422 if form.errors else 200)
