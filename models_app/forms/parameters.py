"""The form of a recipe's parameters: target, excluded columns, and one typed field per parameter."""

from collections.abc import Mapping
from typing import Any

from django import forms

from models_app.forms.schema_fields import field_for
from models_app.queries import Launchable
from models_app.recipes.base import Recipe
from models_app.tables.left_out import left_out
from models_app.training.specs import rows_without, why_not

EXCLUDE = "exclude_columns"


class ParameterForm(forms.Form):
    """The target, the columns excluded by default, and a field for each property of the recipe's JSON Schema."""

    def __init__(
        self,
        recipe: Recipe,
        data: Mapping[str, Any] | None = None,
        *,
        dataset: Launchable | None = None,
        initial: Mapping[str, Any] | None = None,
        target: str = "",
    ) -> None:
        started = dict(initial or {})
        super().__init__(data, prefix="p", initial=started)
        self.fields["target"] = target_field(recipe, dataset, target)
        aim = str((data or {}).get("p-target") or self.fields["target"].initial or "")
        self.left_out = left_out(dataset.profile, aim, dataset.choices) if dataset else {}
        self.profile_target = str(dataset.profile.get("target") or "") if dataset else ""
        self.unchecked = aim if aim != self.profile_target else ""
        self.without = rows_without(dataset.profile, aim) if dataset else 0
        if isinstance(started.get(EXCLUDE), list):  # a cloned job excludes the same columns again
            self.initial["keep"] = [name for name in self.left_out if name not in started[EXCLUDE]]
            self.initial[EXCLUDE] = [name for name in started[EXCLUDE] if name not in self.left_out]
        if self.left_out:
            self.fields["keep"] = Kept(self.left_out)
        for name, schema in recipe.schema()["properties"].items():
            self.fields[name] = field_for(name, schema)
        if self.left_out:
            self.fields[EXCLUDE].label = "More columns to leave out"

    def offered(self) -> list[tuple[Any, str, str]]:
        """Return (checkbox, column, reason) of the columns that can be kept."""
        boxes = list(self["keep"]) if self.left_out else []
        return [(box, name, reason) for box, (name, reason) in zip(boxes, self.left_out.items(), strict=True)]

    def target(self) -> str:
        """Return the chosen column, or the preselected one if the form was sent before the choices loaded."""
        return str(self.cleaned_data.get("target") or self.fields["target"].initial or "")

    def parameters(self) -> dict[str, Any]:
        """Return the input as JSON values, with defaults for empty fields; call after `is_valid`."""
        entered = {name: value for name, value in self.cleaned_data.items() if value not in (None, "")}
        kept = entered.pop("keep", [])
        advised = [name for name in self.left_out if name not in kept]
        return {**entered, EXCLUDE: list(dict.fromkeys([*advised, *entered.get(EXCLUDE, [])]))}


class Kept(forms.MultipleChoiceField):
    """Columns to keep among those excluded by default; columns no longer among them are ignored."""

    def __init__(self, reasons: Mapping[str, str]) -> None:
        super().__init__(
            required=False,
            label="Left out by default",
            choices=[(name, f"{name}: {reason}") for name, reason in reasons.items()],
            widget=forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"}),
        )

    def valid_value(self, value: str) -> bool:
        """Accept any: which columns are excluded depends on the target, which may have changed meanwhile."""
        return True


class TargetSelect(forms.Select):
    """A choice of columns; columns that cannot be chosen are listed too, disabled and with the reason."""

    def __init__(self, refused: Mapping[str, str]) -> None:
        super().__init__()
        self.refused = refused

    def create_option(self, name: str, value: Any, label: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Return one option, disabled if it is refused."""
        option: dict[str, Any] = super().create_option(name, value, label, *args, **kwargs)
        if str(value) in self.refused:
            option["attrs"]["disabled"] = True
            option["label"] = f"{label}: {self.refused[str(value)]}"
        return option


def target_field(recipe: Recipe, dataset: Launchable | None, chosen: str = "") -> forms.ChoiceField:
    """Return the choice of the target: all columns of the dataset, disabled if this recipe cannot learn them."""
    columns = dataset.columns if dataset else ()
    fitting = [column.name for column in columns if recipe.task in column.tasks]
    refused = {
        column.name: why_not(column.kind, column.distinct, recipe.task)
        for column in columns
        if recipe.task not in column.tasks
    }
    first = next((name for name in (chosen, dataset.target if dataset else "") if name in fitting), "")
    choices: list[Any] = [("", "Choose a column" if dataset else "Choose a dataset first")]
    choices += [(name, name) for name in fitting]
    if refused:
        choices.append((f"Not for the {recipe.title.lower()}", [(name, name) for name in refused]))
    text = "The column to predict." if not dataset or fitting else f"No column of this dataset suits {recipe.title}."
    return forms.ChoiceField(
        label="Target column",
        required=dataset is not None and not first,
        choices=choices,
        initial=first,
        help_text=text,
        widget=TargetSelect(refused),
    )
