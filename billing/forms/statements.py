"""The range of a statement of account."""

from __future__ import annotations

from datetime import date
from typing import Any

from django import forms

from billing.queries.owed.statements import Statement, currencies, statement
from tenants.errors import Invalid
from tenants.fields.days import DayField


class RangeForm(forms.Form):
    """First and last day, and the currency."""

    start = DayField(label="From")
    end = DayField(label="To")
    currency = forms.ChoiceField(label="Currency")

    def __init__(self, given: Any, *, today: date, currency: str) -> None:
        known = sorted({*currencies(), currency})
        standard = {"start": date(today.year, 1, 1), "end": today, "currency": currency}
        super().__init__({name: given.get(name) or value for name, value in standard.items()})
        self.fields["currency"].choices = [(one, one) for one in known]  # type: ignore[attr-defined]
        self._statement: Statement | None = None

    @property
    def statement(self) -> Statement | None:
        """The statement of the open scope's tenant; None for a range that cannot be shown, which the form then says."""
        if self._statement is None and self.is_valid():
            data = self.cleaned_data
            try:
                self._statement = statement(data["start"], data["end"], data["currency"])
            except Invalid as refused:
                for texts in refused.fields.values():
                    self.add_error("end", texts)
        return self._statement
