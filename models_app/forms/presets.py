"""The form that changes a preset."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from django import forms

from tenants.errors import ExchequerError, Invalid


class PresetForm(forms.Form):
    """A preset: its name, and its launch as JSON."""

    form_key = forms.UUIDField(widget=forms.HiddenInput, required=False, initial=uuid4)
    name = forms.CharField(label="Name", max_length=120)
    launch = forms.CharField(
        label="Launch",
        max_length=40_000,
        widget=forms.Textarea(attrs={"rows": 18, "spellcheck": "false", "class": "x-code-field"}),
        help_text="An object in JSON: what the API takes to launch a job.",
    )

    def clean_launch(self) -> Any:
        """Return the launch as read; where JSON ends to be JSON, the error names the line."""
        try:
            return json.loads(self.cleaned_data["launch"])
        except json.JSONDecodeError as wrong:
            raise forms.ValidationError(f"Line {wrong.lineno}, column {wrong.colno}: this is no JSON.") from None
        except (RecursionError, ValueError):
            raise forms.ValidationError("This is nested too deeply, or has a number of too many digits.") from None

    def explain(self, refused: ExchequerError) -> None:
        """Show a refusal at its field; what is wrong inside the launch, at the launch."""
        named = refused.fields if isinstance(refused, Invalid) else {}
        for field, texts in named.items():
            for text in texts:
                known = field in self.fields
                self.add_error(
                    field if known else "launch", text if known else f"{field.removeprefix('launch.')}: {text}"
                )
        if not named:
            self.add_error(None, refused.message)
