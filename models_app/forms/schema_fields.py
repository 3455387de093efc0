"""Form fields from a recipe's JSON Schema: type, range, default, texts."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django import forms


def field_for(name: str, schema: Mapping[str, Any]) -> forms.Field:
    """Return the form field for one property of a JSON Schema: type, range, default, texts."""
    common: dict[str, Any] = {
        "label": schema.get("title", name.replace("_", " ").capitalize()),
        "help_text": _help(schema),
        "required": False,
        "initial": schema.get("default"),
    }
    low, high = schema.get("minimum"), schema.get("maximum")
    if "enum" in schema:
        return forms.ChoiceField(**common, choices=[(str(value), str(value)) for value in schema["enum"]])
    kind = schema.get("type")
    if kind == "integer":
        return forms.IntegerField(**common, min_value=low, max_value=high)
    if kind == "number":
        return forms.FloatField(
            **common, min_value=low, max_value=high, widget=forms.NumberInput(attrs={"step": "any"})
        )
    if kind == "boolean":
        return forms.BooleanField(**common)
    if kind == "array":
        return Names(**common)
    return forms.CharField(**common, max_length=schema.get("maxLength", 500))


class Names(forms.CharField):
    """Column names, one per line: as text, because a table may have thousands."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs["help_text"] = f"{kwargs.get('help_text', '')} One a line."
        super().__init__(**kwargs, widget=forms.Textarea(attrs={"rows": 3}))

    def prepare_value(self, value: Any) -> Any:
        """Show a list as lines."""
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Return the lines as a list, without blank ones."""
        text = value if isinstance(value, str) else "\n".join(value or [])
        return [line.strip() for line in text.splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare as lists."""
        return bool(self.to_python(initial) != self.to_python(data))


def _plain(bound: float) -> str:
    return f"{Decimal(str(bound)).normalize():f}"


def _help(schema: Mapping[str, Any]) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    span = (
        f" From {_plain(low)} to {_plain(high)}."
        if low is not None and high is not None and schema.get("type") != "boolean"
        else ""
    )
    return str(schema.get("description", "")) + span
