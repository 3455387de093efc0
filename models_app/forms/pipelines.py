"""The form of a pipeline."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, cast
from uuid import UUID, uuid4

from django import forms

from models_app.pipelines import weekly
from tenants.errors import ExchequerError, Invalid


class PipelineForm(forms.Form):
    """A pipeline: its name, who pays, its steps as JSON, and its cap."""

    form_key = forms.UUIDField(widget=forms.HiddenInput, required=False, initial=uuid4)
    name = forms.CharField(label="Name", max_length=80)
    project = forms.ChoiceField(label="Project", help_text="It pays for every step, and never changes.")
    cap = forms.DecimalField(
        label="Cap of a run",
        required=False,
        max_digits=18,
        decimal_places=6,
        help_text="The most that the jobs of one run may spend; empty for no cap of its own.",
    )
    steps = forms.CharField(
        label="Steps",
        max_length=40_000,
        initial=lambda: as_text(weekly.STEPS),
        widget=forms.Textarea(attrs={"rows": 24, "spellcheck": "false", "class": "x-code-field"}),
        help_text="A list in JSON. The example fetches a file, cleans it, trains twice, compares, and deploys what is better.",
    )

    def __init__(
        self, data: Any = None, *, projects: Sequence[tuple[UUID, str]], fixed: bool = False, **how: Any
    ) -> None:
        super().__init__(data, **how)
        cast("forms.ChoiceField", self.fields["project"]).choices = [(str(key), name) for key, name in projects]
        if fixed:
            del self.fields["project"]

    def clean_steps(self) -> Any:
        """Return the steps as read; where JSON ends to be JSON, the error names the line."""
        try:
            return json.loads(self.cleaned_data["steps"])
        except json.JSONDecodeError as wrong:
            raise forms.ValidationError(f"Line {wrong.lineno}, column {wrong.colno}: this is no JSON.") from None
        except RecursionError:
            raise forms.ValidationError("This is nested too deeply.") from None

    def explain(self, refused: ExchequerError) -> None:
        """Show a refusal at its field; what is wrong with a step, at the steps."""
        named = refused.fields if isinstance(refused, Invalid) else {}
        for field, texts in named.items():
            for text in texts:
                of_steps = field not in self.fields
                self.add_error("steps" if of_steps else field, f"{field}: {text}" if of_steps else text)
        if not named:
            self.add_error(None, refused.message)


def as_text(steps: Any) -> str:
    """Return steps as people edit them."""
    return json.dumps(steps, indent=2, ensure_ascii=False)
