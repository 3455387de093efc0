"""Forms of the learning room: uploading a dataset, and launching a job with fields made from a recipe's schema."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, cast

from django import forms

from models_app.queries import Launchable
from models_app.recipes.base import Recipe

MOST_MINUTES = 7 * 24 * 60
TIERS = (("on_demand", "On demand"), ("spot", "Spot"))


class DatasetUpload(forms.Form):
    """A table to learn from."""

    name = forms.CharField(
        max_length=120, label="Name", help_text="Uploading under a name that exists makes its next version."
    )
    target = forms.CharField(
        max_length=200,
        required=False,
        label="Target column",
        help_text="The column to predict. Leave it empty if you do not know yet; it can be chosen at launch.",
    )
    file = forms.FileField(
        label="File",
        error_messages={"required": "Choose a CSV or Parquet file."},
        help_text="CSV with a header row, or Parquet.",
        widget=forms.FileInput(attrs={"accept": ".csv,.parquet,text/csv"}),
    )


class JobForm(forms.Form):
    """What every job is told, whatever it does."""

    name = forms.CharField(max_length=120, label="Name", help_text="How you and others find it again.")
    project = forms.ChoiceField(label="Project", help_text="The cost centre that pays for it.")
    dataset = forms.ChoiceField(label="Dataset")
    device_class = forms.ChoiceField(label="Device")
    tier = forms.ChoiceField(label="Price tier", choices=TIERS, initial="on_demand")
    max_minutes = forms.IntegerField(
        label="Longest run time (minutes)",
        min_value=1,
        max_value=MOST_MINUTES,
        initial=60,
        help_text="It stops here with a checkpoint. The limit counts over all attempts.",
    )
    max_cost = forms.DecimalField(
        label="Highest cost",
        required=False,
        min_value=Decimal("0.000001"),
        max_digits=18,
        decimal_places=6,
        help_text="Never spend more than this on the job. Empty: only the run time limits it.",
    )
    key = forms.UUIDField(widget=forms.HiddenInput, required=False)
    clone = forms.UUIDField(widget=forms.HiddenInput, required=False)

    def __init__(
        self,
        *args: Any,
        projects: Sequence[tuple[str, str]],
        datasets: Sequence[tuple[str, str]],
        devices: Sequence[str],
        currency: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._offer("project", projects)
        self._offer("dataset", [("", "Choose a dataset"), *datasets])
        self._offer("device_class", [(name, name) for name in devices])
        self.fields["max_cost"].label = f"Highest cost ({currency})"

    def _offer(self, name: str, choices: Sequence[tuple[str, str]]) -> None:
        cast("forms.ChoiceField", self.fields[name]).choices = list(choices)


class LaunchForm(JobForm):
    """A training job, but for the recipe's own parameters."""

    recipe = forms.ChoiceField(label="Recipe")
    model = forms.CharField(
        max_length=120,
        required=False,
        label="Model name",
        help_text="The result becomes the next version of this model. Empty: the job's name.",
    )

    def __init__(self, *args: Any, recipes: Sequence[Recipe], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offer("recipe", [(recipe.id, recipe.title) for recipe in recipes])


class BatchForm(JobForm):
    """A batch prediction: which version, over which dataset."""

    version = forms.ChoiceField(label="Model version", help_text="Archived versions are not offered.")

    def __init__(self, *args: Any, versions: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._offer("version", [("", "Choose a version"), *versions])
        self._offer("project", [("", "The version's own"), *self.fields["project"].choices])  # type: ignore[attr-defined]
        self.fields["project"].required = False
        self.fields["dataset"].help_text = "It needs the columns that the model was trained on; others are ignored."
        self.fields["max_minutes"].help_text = "It stops here without a result. The limit counts over all attempts."


class ParameterForm(forms.Form):
    """The target, and a recipe's parameters: one typed field for each property of its JSON Schema, in its order."""

    def __init__(
        self,
        recipe: Recipe,
        data: Mapping[str, Any] | None = None,
        *,
        dataset: Launchable | None = None,
        initial: Mapping[str, Any] | None = None,
        target: str = "",
    ) -> None:
        super().__init__(data, prefix="p", initial=dict(initial or {}))
        self.fields["target"] = target_field(recipe, dataset, target)
        for name, schema in recipe.schema()["properties"].items():
            self.fields[name] = field_for(name, schema)

    def target(self) -> str:
        """Return the chosen column, else the one that was offered: a form sent before the choice arrived means that one."""
        return str(self.cleaned_data.get("target") or self.fields["target"].initial or "")

    def parameters(self) -> dict[str, Any]:
        """Return what was entered as JSON values, defaults where nothing was; call after `is_valid`."""
        return {name: value for name, value in self.cleaned_data.items() if value not in (None, "")}


def target_field(recipe: Recipe, dataset: Launchable | None, chosen: str = "") -> forms.ChoiceField:
    """Return the choice of the column to predict: those of the dataset that this recipe can learn."""
    columns = dataset.columns if dataset else ()
    fitting = [column.name for column in columns if recipe.task in column.tasks]
    first = next((name for name in (chosen, dataset.target if dataset else "") if name in fitting), "")
    choices = [("", "Choose a column" if dataset else "Choose a dataset first"), *((name, name) for name in fitting)]
    text = "The column to predict." if not dataset or fitting else f"No column of this dataset suits {recipe.title}."
    return forms.ChoiceField(
        label="Target column",
        required=dataset is not None and not first,
        choices=choices,
        initial=first,
        help_text=text,
    )


def field_for(name: str, schema: Mapping[str, Any]) -> forms.Field:
    """Return the form field that one property of a JSON Schema describes: type, range, default, words."""
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
    """A list of column names, one a line: as text, because a table may have thousands."""

    def __init__(self, **kwargs: Any) -> None:
        kwargs["help_text"] = f"{kwargs.get('help_text', '')} One a line."
        super().__init__(**kwargs, widget=forms.Textarea(attrs={"rows": 3}))

    def prepare_value(self, value: Any) -> Any:
        """Show a list as lines."""
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        """Return the lines as a list, blank ones left out."""
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
