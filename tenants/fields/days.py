"""Fields of days and months, of forms and of bodies: none accepts what the arithmetic of days cannot count on from."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any

from django import forms
from django.core.validators import MaxValueValidator, MinValueValidator
from rest_framework import serializers

from tenants.errors import Invalid
from tenants.parsing import FIRST_DAY, LAST_DAY, parse_month


class DayField(forms.DateField):
    """A day from FIRST_DAY to LAST_DAY, with the browser's own picker."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs.setdefault("widget", forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}))
        super().__init__(**kwargs)
        beyond = f"Give a day from {FIRST_DAY} to {LAST_DAY}."
        self.validators += [MinValueValidator(FIRST_DAY, beyond), MaxValueValidator(LAST_DAY, beyond)]


class MonthField(forms.CharField):
    """A month such as 2026-11, by its first day; None if it is empty and may be."""

    widget = forms.TextInput(attrs={"type": "month"})

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(max_length=10, **kwargs)

    def clean(self, value: Any) -> date | None:
        """Read the month."""
        text = super().clean(value)
        try:
            return parse_month(text, "month")
        except Invalid as refused:
            raise forms.ValidationError(refused.fields["month"]) from None


class Day(serializers.DateField):
    """A day of a body, from FIRST_DAY to LAST_DAY."""

    def to_internal_value(self, value: Any) -> date:
        """Parse a day such as 2026-11-30."""
        day: date = super().to_internal_value(value)
        if isinstance(day, datetime) or not FIRST_DAY <= day <= LAST_DAY:
            raise serializers.ValidationError(f"Give a day from {FIRST_DAY} to {LAST_DAY}.")
        return day
