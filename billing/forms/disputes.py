"""Forms of disputes. A form only parses; operations decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django import forms

from billing.models.disputes import LONGEST_TEXT
from billing.queries.lines import InvoiceLine
from tenants.currencies import exact_text

#: Lines to choose from; others are disputed by the API.
MOST_LINES = 500
TEXT = forms.Textarea({"rows": 4})


class DisputeForm(forms.Form):
    """A line to dispute, and why."""

    line = forms.TypedChoiceField(label="Line", coerce=UUID)
    reason = forms.CharField(
        label="What is wrong", max_length=LONGEST_TEXT, widget=TEXT, help_text="The seller reads it, and answers."
    )

    def __init__(self, data: Any = None, *, lines: Sequence[InvoiceLine], chosen: str = "") -> None:
        super().__init__(data, initial={"line": chosen})
        self.fields["line"].choices = [(str(one.id), _label(one)) for one in lines[:MOST_LINES]]  # type: ignore[attr-defined]


class MessageForm(forms.Form):
    """A message."""

    text = forms.CharField(label="Message", max_length=LONGEST_TEXT, widget=TEXT)


def _label(line: InvoiceLine) -> str:
    of = f"{line.project_name}: {line.meter_title}" if line.unit else line.kind.replace("_", " ").capitalize()
    return f"{line.n}. {of}, {exact_text(line.amount.amount, line.amount.currency)}"
