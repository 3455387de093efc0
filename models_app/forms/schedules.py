"""The form of a schedule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID, uuid4

from django import forms
from django.utils.functional import lazy

from tenants.clock import timezones
from tenants.errors import ExchequerError, Invalid

OVERLAP = (
    ("skip", "Skip the new one"),
    ("queue", "Launch it when the one before has ended; one waits"),
    ("allow", "Launch it beside the one before"),
)
MISSED = (("latest", "Launch once, late"), ("none", "Launch nothing until the next time"))


class ScheduleForm(forms.Form):
    """A schedule: what it launches, when, and what follows when it cannot. `launches`: `preset:<id>` or `pipeline:<id>`."""

    form_key = forms.UUIDField(widget=forms.HiddenInput, required=False, initial=uuid4)
    name = forms.CharField(label="Name", max_length=80)
    launches = forms.ChoiceField(label="Launches", help_text="A preset or a pipeline; its project pays.")
    cron = forms.CharField(
        label="Cron expression",
        max_length=100,
        initial="0 6 * * 1",
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocomplete": "off"}),
        help_text="Minute, hour, day of month, month, day of week: 0 6 * * 1 is every Monday at 6:00.",
    )
    zone = forms.ChoiceField(
        label="Time zone", choices=lazy(lambda: [(zone, zone) for zone in sorted(timezones())], list)
    )
    overlap = forms.ChoiceField(label="If the run before has not ended", choices=OVERLAP)
    missed = forms.ChoiceField(label="If Exchequer was not running at the time", choices=MISSED)

    def __init__(self, data: Any = None, *, launches: Sequence[tuple[str, list[tuple[str, str]]]], **how: Any) -> None:
        super().__init__(data, **how)
        cast("forms.ChoiceField", self.fields["launches"]).choices = [one for one in launches if one[1]]

    def wanted(self) -> dict[str, Any]:
        """Return what the form asks for, as the operations take it."""
        data = dict(self.cleaned_data)
        kind, _, key = data.pop("launches").partition(":")
        del data["form_key"]
        return {**data, kind: UUID(key)}

    def explain(self, refused: ExchequerError) -> None:
        """Show a refusal at its field."""
        named = refused.fields if isinstance(refused, Invalid) else {}
        for field, texts in named.items():
            self.add_error("launches" if field in ("preset", "pipeline") else field, texts)
        if not named:
            self.add_error(None, refused.message)
