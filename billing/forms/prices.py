"""The form of a price list: every price of the previous version, to keep, change or drop, and some new ones."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.forms import BoundField

from billing.defaults import SECOND
from billing.forms.fields import HOURLY, PriceField, typed
from billing.pricing.publishing import start_fault
from billing.queries import MeterView, PriceView, one_of
from billing.rating.new_price import NewPrice
from billing.rating.tags import DIMENSION, PREFIX

MORE = 3


class Dimensions(forms.CharField):
    """Dimensions as `device_class=cpu, tier=spot`."""

    def to_python(self, value: Any) -> Any:
        """Return the dimensions as a mapping."""
        dims: dict[str, str] = {}
        for part in str(value or "").split(","):
            if not part.strip():
                continue
            name, separator, text = (piece.strip() for piece in part.partition("="))
            if not separator or not DIMENSION.fullmatch(name.removeprefix(PREFIX)) or not 1 <= len(text) <= 200:
                raise forms.ValidationError(
                    f"“{part.strip()[:40]}” is not name=value. Write device_class=cpu, tier=spot."
                )
            dims[name] = text
        return dims


def _amount(**more: Any) -> PriceField:
    return PriceField(required=False, min_value=0, max_digits=24, decimal_places=12, **more)


class PricesForm(forms.Form):
    """A complete list of prices; an empty amount drops its price."""

    def __init__(
        self, data: Any = None, *, prices: Sequence[PriceView], meters: Sequence[MeterView], **more: Any
    ) -> None:
        super().__init__(data, **more)
        self.base = prices
        self.units = {meter.key: meter.unit for meter in meters}
        for number, price in enumerate(prices):
            label = f"Price of {price.meter_title}, {_words(price.dims)}"
            self.fields[f"price_{number}"] = _amount(
                initial=typed(price.unit_amount), label=label, timed=price.unit == SECOND
            )
        options = [("", "None"), *((meter.key, f"{meter.title} ({one_of(meter.unit)})") for meter in meters)]
        for number in range(MORE):
            self.fields[f"meter_{number}"] = forms.ChoiceField(label="Meter", required=False, choices=options)
            self.fields[f"dims_{number}"] = Dimensions(label="Only for", required=False)
            self.fields[f"amount_{number}"] = _amount(label="Price")

    @property
    def rows(self) -> list[tuple[PriceView, BoundField]]:
        """Return the prices of the previous version, each with its field."""
        return [(price, self[f"price_{number}"]) for number, price in enumerate(self.base)]

    @property
    def more(self) -> list[tuple[BoundField, BoundField, BoundField]]:
        """Return the fields of new prices."""
        return [(self[f"meter_{n}"], self[f"dims_{n}"], self[f"amount_{n}"]) for n in range(MORE)]

    def clean(self) -> dict[str, Any]:
        """Require a new price to be complete or empty."""
        data: dict[str, Any] = self.cleaned_data
        for number in range(MORE):
            meter, amount = data.get(f"meter_{number}"), data.get(f"amount_{number}")
            if meter and amount is None and f"amount_{number}" not in self.errors:
                self.add_error(f"amount_{number}", "Enter the price of one unit.")
            if (
                meter
                and self.units.get(meter) != SECOND
                and HOURLY.fullmatch(str(self.data.get(f"amount_{number}", "")).strip())
            ):
                self.add_error(f"amount_{number}", "This unit is not a time: enter the price of one unit.")
            if not meter and (amount is not None or data.get(f"dims_{number}")):
                self.add_error(f"meter_{number}", "Choose a meter.")
        return data

    @property
    def prices(self) -> list[NewPrice]:
        """Return the complete list of prices of a valid form."""
        data = self.cleaned_data
        kept = [
            (price.meter, price.dims, data[f"price_{number}"], price.list_amount)
            for number, price in enumerate(self.base)
        ]
        added = [
            (data[f"meter_{n}"], data[f"dims_{n}"], data[f"amount_{n}"], None)
            for n in range(MORE)
            if data[f"meter_{n}"]
        ]
        return [
            NewPrice(meter, dims, Decimal(amount), listed)
            for meter, dims, amount, listed in [*kept, *added]
            if amount is not None
        ]


class PriceListForm(PricesForm):
    """A version to publish."""

    effective_at = forms.DateTimeField(
        label="In force from",
        required=False,
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    note = forms.CharField(label="Reason", max_length=200, help_text="Tenants and other operators read it.")
    previewed = forms.CharField(required=False, max_length=64, widget=forms.HiddenInput)

    def __init__(self, data: Any = None, *, zone: str, **more: Any) -> None:
        super().__init__(data, **more)
        self.zone = zone
        self.fields[
            "effective_at"
        ].help_text = (
            f"Time in {zone}; at least five minutes ahead. Empty: as soon as possible. Past usage keeps its price."
        )

    def clean_effective_at(self) -> datetime | None:
        """Parse the time in the zone of the form."""
        moment: datetime | None = self.cleaned_data["effective_at"]
        if moment is None:
            return None
        moment = moment.replace(tzinfo=ZoneInfo(self.zone))
        if fault := start_fault(moment):
            raise forms.ValidationError(fault)
        return moment

    @property
    def digest(self) -> str:
        """Return a digest of the previewed prices; a form changed since is previewed again."""
        listed = [[price.meter, sorted(price.dims.items()), str(price.unit_amount)] for price in self.prices]
        said = json.dumps([listed, str(self.cleaned_data["effective_at"])])
        return hashlib.sha256(said.encode()).hexdigest()


def _words(dims: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in sorted(dims.items())) or "all else"
