"""Forms of webhooks. A form only parses; operations decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast
from uuid import uuid4

from django import forms

from tenants.models import DeliveryState, WebhookFormat
from tenants.webhooks import catalogue


class WebhookForm(forms.Form):
    """A webhook: where, what, and how."""

    form_key = forms.UUIDField(widget=forms.HiddenInput, required=False, initial=uuid4)
    name = forms.CharField(label="Name", max_length=60, help_text="Who receives it, such as pager or finance-channel.")
    url = forms.CharField(
        label="Address",
        max_length=2048,
        help_text="https, port 443, at a public address. For Slack, the URL of an incoming webhook.",
    )
    format = forms.ChoiceField(label="Format", choices=WebhookFormat.choices, initial=WebhookFormat.EXCHEQUER)
    types = forms.MultipleChoiceField(label="Events", widget=forms.CheckboxSelectMultiple)

    def __init__(self, data: Any = None, *, initial: dict[str, Any] | None = None) -> None:
        super().__init__(data, auto_id="webhook_%s", initial=initial)
        cast("forms.MultipleChoiceField", self.fields["types"]).choices = self.offered()

    def offered(self) -> Sequence[tuple[str, str]]:
        """Return name and title of each type."""
        return [(one.name, one.title) for one in catalogue.types()]

    def fields_given(self) -> dict[str, Any]:
        """Return the arguments of the operation."""
        return {name: self.cleaned_data[name] for name in ("name", "url", "format", "types")}


class ChangeWebhook(WebhookForm):
    """The same, and whether it receives events. The address stays unless another is given."""

    enabled = forms.BooleanField(label="Receives events", required=False)
    field_order = ("name", "url", "format", "enabled", "types")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["url"].required = False
        self.fields["url"].help_text = "Empty: it stays."

    def fields_given(self) -> dict[str, Any]:
        """Return the arguments of the operation."""
        given = super().fields_given() | {"enabled": self.cleaned_data["enabled"]}
        return given if given["url"] else {name: value for name, value in given.items() if name != "url"}


class DeliveryFilter(forms.Form):
    """Filter of the deliveries."""

    state = forms.ChoiceField(label="State", required=False, choices=[("", "Any"), *DeliveryState.choices])
