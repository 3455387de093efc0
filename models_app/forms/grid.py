"""The part of the launch form that makes a job array: values of some parameters, and what holds for all jobs together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, cast

from django import forms

from billing.forms.fields import AmountField
from billing.money import minor_decimals
from compute.arrays.grid import MOST_PATHS
from models_app.forms.schema_fields import field_for
from models_app.recipes.base import Recipe

MOST_AT_ONCE = 1000
LONGEST = 1000
PLAIN = ("integer", "number", "string", "boolean")
WORDS = {"true": True, "false": False}


class GridForm(forms.Form):
    """Rows of a parameter and its values, with the cap and the number at once of the array. Without values there is no array."""

    cap = AmountField(
        required=False,
        min_value=Decimal("0.000001"),
        max_digits=18,
        decimal_places=6,
        help_text="What all jobs may cost together. It must pay for each in full. Empty: no cap of their own.",
    )
    most_at_once = forms.IntegerField(
        label="Jobs at once",
        required=False,
        min_value=1,
        max_value=MOST_AT_ONCE,
        help_text="So many run at the same time. Empty: as many as find a device.",
    )

    def __init__(
        self,
        recipe: Recipe,
        data: Mapping[str, Any] | None = None,
        *,
        currency: str,
        initial: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(data, prefix="v", initial=dict(initial or {}))
        cap = cast("AmountField", self.fields["cap"])
        cap.decimals, cap.label = minor_decimals(currency), f"Cap of all jobs ({currency})"
        schemas = recipe.schema()["properties"].items()
        self.parameters = {name: field_for(name, schema) for name, schema in schemas if _one_value(schema)}
        choices = [("", "Choose a parameter"), *((name, str(one.label)) for name, one in self.parameters.items())]
        for number in range(1, MOST_PATHS + 1):
            self.fields[f"name{number}"] = forms.ChoiceField(label="Parameter", required=False, choices=choices)
            self.fields[f"values{number}"] = forms.CharField(
                label="Values",
                required=False,
                max_length=LONGEST,
                widget=forms.TextInput(attrs={"placeholder": "0.1, 0.01, 0.001", "autocomplete": "off"}),
            )

    def rows(self) -> Iterator[tuple[forms.BoundField, forms.BoundField]]:
        """Yield the fields of each row."""
        for number in range(1, MOST_PATHS + 1):
            yield self[f"name{number}"], self[f"values{number}"]

    @property
    def is_open(self) -> bool:
        """Return whether something of it was entered."""
        return any(bound.value() not in (None, "") for bound in self)

    def vary(self) -> dict[str, list[Any]]:
        """Return the values by the path of what they replace; empty without an array. Call after `is_valid`."""
        return dict(self.cleaned_data.get("vary", {}))

    def clean(self) -> dict[str, Any]:
        """Read the rows."""
        data: dict[str, Any] = super().clean() or {}
        vary: dict[str, list[Any]] = {}
        for number in range(1, MOST_PATHS + 1):
            name, text = data.get(f"name{number}", ""), data.get(f"values{number}", "")
            if name and not text:
                self.add_error(f"values{number}", "Give the values, separated by commas.")
            elif text and not name:
                if not self.errors.get(f"name{number}"):
                    self.add_error(f"name{number}", "Choose the parameter that takes these values.")
            elif name and f"params.{name}" in vary:
                self.add_error(f"name{number}", "Another row has this parameter. Give all its values there.")
            elif name:
                vary[f"params.{name}"] = self._values(number, name, text)
        if not vary and not self.errors:
            for name in ("cap", "most_at_once"):
                if data.get(name) is not None:
                    self.add_error(name, "This holds for several jobs: give values of a parameter, or leave it empty.")
        return {**data, "vary": vary}

    def _values(self, number: int, name: str, text: str) -> list[Any]:
        """Return the values of a row; what a parameter cannot be is an error of the row."""
        field, found = self.parameters[name], []
        for piece in filter(None, (piece.strip() for piece in text.split(","))):
            try:
                value = WORDS[piece.lower()] if isinstance(field, forms.BooleanField) else field.clean(piece)
            except KeyError:
                self.add_error(f"values{number}", f"{piece[:40]}: Use true or false.")
            except forms.ValidationError as wrong:
                self.add_error(f"values{number}", f"{piece[:40]}: {' '.join(wrong.messages)}")
            else:
                found.append(value)
        if not self.errors.get(f"values{number}"):
            if not found:
                self.add_error(f"values{number}", "Give the values, separated by commas.")
            elif len({repr(value) for value in found}) < len(found):
                self.add_error(f"values{number}", "Give each value once.")
        return found


def _one_value(schema: Mapping[str, Any]) -> bool:
    return "enum" in schema or schema.get("type") in PLAIN
