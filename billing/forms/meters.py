"""The form of a meter for an organisation's own events."""

from __future__ import annotations

from django import forms

from billing.rating.aggregation import AGGREGATIONS, COUNTS

LABELS = {"sum": "Sum of quantities", **{kind: text[:1].upper() + text[1:] for kind, text in COUNTS.items()}}


class NewMeter(forms.Form):
    """A meter to define."""

    title = forms.CharField(label="Title", max_length=120)
    event_type = forms.CharField(
        label="Event type", max_length=120, help_text="The type of the events, such as storage.gib."
    )
    unit = forms.CharField(
        label="Unit",
        max_length=30,
        help_text="One unit in small letters, such as request or GiB-hour; second for time.",
    )
    aggregation = forms.ChoiceField(
        label="Counts",
        choices=[(kind, LABELS[kind]) for kind in AGGREGATIONS],
        help_text="It stays as it is once there is usage.",
    )
