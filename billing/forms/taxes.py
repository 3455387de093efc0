"""Forms of the console about tax rates. A form only parses; operations decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms

from billing.forms.fields import FractionField
from billing.taxes.table import NewRate
from tenants.fields.codes import CapitalField
from tenants.fields.days import DayField


class TaxRateForm(forms.Form):
    """A rate to enter."""

    country = CapitalField(label="Country", max_length=2, help_text="Two capital letters, such as DE.")
    name = forms.CharField(label="Name", max_length=60, initial="VAT", help_text="It stands on invoices.")
    percent = FractionField(label="Rate in per cent", min_value=0, max_value=100, max_digits=6, decimal_places=3)
    product = forms.ChoiceField(label="For", required=False, help_text="A meter may have a rate of its own.")
    starts_on = DayField(label="From")
    ends_on = DayField(label="Until before", required=False, help_text="Leave it empty if it is open.")
    reason = forms.CharField(label="Reason", max_length=400, help_text="It stands in the operator log.")

    def __init__(self, data: Any = None, *, meters: Sequence[tuple[str, str]]) -> None:
        super().__init__(data)
        self.fields["product"].choices = [("", "everything without a rate of its own"), *meters]  # type: ignore[attr-defined]

    @property
    def rate(self) -> NewRate:
        """The rate of a valid form."""
        names = ("country", "name", "percent", "product", "starts_on", "ends_on")
        return NewRate(**{name: self.cleaned_data[name] for name in names})


class EndRateForm(forms.Form):
    """The first day without a rate."""

    ends_on = DayField(label="First day without it")
    reason = forms.CharField(label="Reason", max_length=400)
