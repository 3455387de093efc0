"""Forms of the endpoint pages: deploy, create a key, playground."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast
from uuid import UUID, uuid4

from django import forms

from billing.forms.fields import TagsField
from models_app.endpoints.compatibility import Replaced
from models_app.endpoints.deployments import SLO_RANGE_MS
from models_app.endpoints.endpoint_keys import MOST_A_MINUTE
from models_app.endpoints.playground import MOST_FIELDS, TryInput
from models_app.forms.number_cells import NumberCell
from models_app.forms.required_tags import RequiredTagsForm
from models_app.models.serving import SLO_MS

YES_NO = (("", "not known"), ("true", "yes"), ("false", "no"))


class DeployForm(RequiredTagsForm):
    """Which version to serve under which name, and which project pays."""

    kind = "endpoint"

    version = forms.ChoiceField(label="Model version", help_text="Versions in production can be deployed.")
    name = forms.CharField(
        max_length=63,
        label="Endpoint name",
        help_text="Part of its address: small letters, digits and dashes. The name of a live endpoint moves that endpoint to this version.",
    )
    project = forms.ChoiceField(
        label="Project", required=False, help_text="The cost centre that pays for its requests."
    )
    slo_ms = forms.IntegerField(
        label="Latency SLO (ms)",
        required=False,
        min_value=SLO_RANGE_MS[0],
        max_value=SLO_RANGE_MS[1],
        initial=SLO_MS,
        help_text="Requests that would wait longer are refused at once, and an alert opens when answers are slower.",
    )
    tags = TagsField(
        label="Tags",
        required=False,
        max_length=3_400,
        help_text="Name=value, separated by commas, at most 20. They stay as long as the endpoint; empty keeps those of a live one.",
    )
    form_key = forms.UUIDField(widget=forms.HiddenInput, required=False, initial=uuid4)
    replaces = forms.UUIDField(widget=forms.HiddenInput, required=False)
    confirm = forms.CharField(required=False, max_length=63, label="Endpoint name again")

    def __init__(
        self,
        data: Any = None,
        *,
        versions: Sequence[tuple[UUID, str]],
        projects: Sequence[tuple[UUID, str]],
        **more: Any,
    ) -> None:
        super().__init__(data, **more)
        offered = {
            # The empty choice: without it a browser preselects the first version.
            "version": [("", "Choose a version"), *((str(key), label) for key, label in versions)],
            "project": [("", "The version's own"), *((str(key), label) for key, label in projects)],
        }
        for name, choices in offered.items():
            cast(forms.ChoiceField, self.fields[name]).choices = choices
        # A live endpoint keeps its tags: nothing must be typed again.
        self.ask_for_required(must=False)

    def allows(self, found: Replaced) -> bool:
        """Return whether replacing this very version was confirmed, and the name typed if clients would break."""
        typed = self.cleaned_data["confirm"] == found.name or not found.columns
        return typed and self.cleaned_data["replaces"] == found.version_id


class KeyForm(forms.Form):
    """A key that calls one endpoint."""

    name = forms.CharField(max_length=120, label="Name", help_text="Who will use it.")
    requests_per_minute = forms.IntegerField(
        label="Requests a minute",
        required=False,
        min_value=1,
        max_value=MOST_A_MINUTE,
        help_text="Requests beyond the limit are refused. Empty: no limit.",
    )
    form_key = forms.UUIDField(widget=forms.HiddenInput, required=False, initial=uuid4)


class TryForm(forms.Form):
    """One field per input of the model, filled with its typical value; an empty field is a missing value."""

    def __init__(self, data: Any = None, *, inputs: Sequence[TryInput]) -> None:
        super().__init__(data, auto_id="try_%s", prefix="try")
        self.inputs = inputs
        for at, one in enumerate(inputs[:MOST_FIELDS]):
            self.fields[f"f{at}"] = _field(one)

    @property
    def left_out(self) -> int:
        """Return how many inputs have no field and take their typical value."""
        return max(0, len(self.inputs) - MOST_FIELDS)

    def row(self) -> dict[str, Any]:
        """Return the instance to predict; call after the form is valid."""
        entered: Mapping[str, Any] = self.cleaned_data
        row = {one.name: one.typical for one in self.inputs}
        for at, one in enumerate(self.inputs[:MOST_FIELDS]):
            row[one.name] = _value(one, entered.get(f"f{at}"))
        return row


def _field(one: TryInput) -> forms.Field:
    common: dict[str, Any] = {"label": one.name[:80], "required": False}
    if one.kind == "numeric":
        return NumberCell(contract=one.contract, initial=one.typical, **common)
    if one.kind == "boolean":
        typical = {True: "true", False: "false"}.get(one.typical, "")
        return forms.ChoiceField(choices=YES_NO, initial=typical, **common)
    if one.choices and len(one.choices) <= MOST_FIELDS:
        choices = [("", "not known"), *((value, value[:80]) for value in one.choices)]
        return forms.ChoiceField(choices=choices, initial=one.typical or "", **common)
    hint = "A date and time, such as 2026-11-01T12:00:00." if one.kind == "datetime" else ""
    return forms.CharField(max_length=1000, initial=one.typical or "", help_text=hint, strip=False, **common)


def _value(one: TryInput, value: Any) -> Any:
    if value in (None, ""):
        return None
    return value == "true" if one.kind == "boolean" else value
