"""The console's form of an exchange rate. A form only parses; operations decide."""

from __future__ import annotations

from datetime import UTC

from django import forms

from billing.exchange.table import NewExchangeRate
from billing.forms.fields import FractionField
from tenants.fields.codes import CapitalField


class ExchangeRateForm(forms.Form):
    """A rate to enter; times are UTC."""

    source = CapitalField(label="One unit of", max_length=3, help_text="The currency of a price book, such as USD.")
    rate = FractionField(label="Is worth", max_digits=38, decimal_places=12)
    target = CapitalField(label="In", max_length=3, help_text="The currency of contracts, such as EUR.")
    valid_from = forms.DateTimeField(
        label="From, in UTC",
        required=False,
        widget=forms.DateTimeInput({"type": "datetime-local"}),
        help_text="Leave it empty for as early as possible: at once for the first of a pair, else in five minutes.",
    )
    origin = forms.CharField(label="Published by", max_length=120, help_text="Such as ECB reference rate.")
    reason = forms.CharField(label="Reason", max_length=400, help_text="It stands in the operator log.")

    @property
    def new(self) -> NewExchangeRate:
        """The rate of a valid form."""
        data = self.cleaned_data
        start = data["valid_from"]
        return NewExchangeRate(
            source=data["source"],
            target=data["target"],
            rate=data["rate"],
            origin=data["origin"],
            valid_from=start.replace(tzinfo=UTC) if start else None,
        )
