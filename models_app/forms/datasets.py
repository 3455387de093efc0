"""Forms of datasets and jobs: upload, and the fields of every launch."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, cast

from django import forms

from billing.forms.fields import AmountField, TagsField
from billing.money import minor_decimals
from compute import labels
from compute.limits import MOST_DEVICES
from models_app.forms.required_tags import RequiredTagsForm
from models_app.recipes.base import Recipe
from models_app.tables import writing

MOST_MINUTES = 7 * 24 * 60


class DatasetUpload(forms.Form):
    """Upload of a table."""

    name = forms.CharField(
        max_length=120, label="Name", help_text="Uploading under an existing name creates its next version."
    )
    target = forms.CharField(
        max_length=200,
        required=False,
        label="Target column",
        help_text="The column to predict. Leave it empty to choose it at launch.",
    )
    file = forms.FileField(
        label="File",
        error_messages={"required": "Choose a CSV or Parquet file."},
        help_text="CSV with a header row, Excel, JSON (one object a line, or a list), or Parquet; also compressed with gzip.",
        widget=forms.FileInput(
            attrs={"accept": ".csv,.tsv,.txt,.xlsx,.xls,.xlsb,.ods,.json,.jsonl,.ndjson,.parquet,.gz,text/csv"}
        ),
    )
    project = forms.ChoiceField(
        required=False,
        label="Project",
        help_text="Who sees into the project sees its datasets. One of the organisation is seen by all members.",
    )
    restricted = forms.BooleanField(
        required=False, label="Restricted", help_text="Only you, owners, admins and those you share it with see it."
    )
    encoding = forms.ChoiceField(
        choices=[("", "As the file shows"), *writing.ENCODINGS.items()], required=False, label="Encoding"
    )
    delimiter = forms.ChoiceField(
        choices=[("", "As the file shows"), *writing.DELIMITERS.items()], required=False, label="Delimiter"
    )

    def __init__(self, *args: Any, projects: Sequence[tuple[str, str]], whole: bool, **kwargs: Any) -> None:
        """Offer these projects, and the whole organisation if the person may upload for it."""
        super().__init__(*args, **kwargs)
        choices = [("", "The whole organisation"), *projects] if whole else [*projects]
        cast(forms.ChoiceField, self.fields["project"]).choices = choices


class JobForm(RequiredTagsForm):
    """Fields of every job."""

    name = forms.CharField(max_length=120, label="Name", help_text="The name of the job in lists.")
    project = forms.ChoiceField(label="Project", help_text="The cost centre that pays for it.")
    dataset = forms.ChoiceField(label="Dataset")
    device_class = forms.ChoiceField(label="Device")
    tier = forms.CharField(label="Terms", required=False, max_length=20)
    share = forms.ChoiceField(
        label="Part of the device",
        required=False,
        help_text="A part costs that part of the price, and shares the device with your organisation’s own jobs alone.",
    )
    max_minutes = forms.IntegerField(
        label="Time limit (minutes)",
        min_value=1,
        max_value=MOST_MINUTES,
        required=False,
        help_text="The job stops here with a checkpoint. The limit applies to all attempts together. Empty: three times the duration of similar runs.",
    )
    max_cost = AmountField(
        label="Highest cost",
        required=False,
        min_value=Decimal("0.000001"),
        max_digits=18,
        decimal_places=6,
        help_text="The job never costs more than this. Empty: only the time limit applies.",
    )
    tags = TagsField(
        label="Tags",
        required=False,
        max_length=3_400,
        help_text="Name=value, separated by commas, at most 20. You can group usage, spend and budgets by tag.",
    )
    node_labels = forms.MultipleChoiceField(
        label="Only on hosts with",
        required=False,
        widget=forms.CheckboxSelectMultiple(attrs={"class": "form-check-input"}),
        help_text="The job waits for a host that carries all that you choose. None: any host.",
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
        shares: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self._offer("project", projects)
        self._offer("share", [("1", "Whole"), *((share, share) for share in shares)])
        self._offer("dataset", [("", "Choose a dataset"), *datasets])
        self._offer("device_class", [(name, name) for name in devices])
        self._offer("node_labels", [(one, one.replace("=", ": ")) for one in labels.offered()])
        cast("AmountField", self.fields["max_cost"]).decimals = minor_decimals(currency)
        self.fields["max_cost"].label = f"Cost limit ({currency})"
        self.ask_for_required(must=True)

    def clean_node_labels(self) -> list[str]:
        """Return the chosen labels; two values of one key are on no host."""
        chosen: list[str] = self.cleaned_data["node_labels"]
        if len({one.partition("=")[0] for one in chosen}) < len(chosen):
            raise forms.ValidationError("Choose one value of each label: no host carries two.")
        return chosen

    def _offer(self, name: str, choices: Sequence[tuple[str, str]]) -> None:
        cast("forms.ChoiceField", self.fields[name]).choices = list(choices)


class LaunchForm(JobForm):
    """A training job, without the recipe's own parameters."""

    kind = "train"

    recipe = forms.ChoiceField(label="Recipe")
    devices = forms.IntegerField(
        label="Devices",
        min_value=1,
        max_value=MOST_DEVICES,
        required=False,
        help_text="On several devices it is done sooner. It waits for all of them, and pays for each. Empty: one.",
    )
    spread = forms.BooleanField(
        label="On several hosts",
        required=False,
        help_text="Choose it where no host has enough devices. The hosts train together over an encrypted connection.",
    )
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
    """A batch prediction: which version, over which dataset.

    Without `any_project` the version's own project is not offered: the person may not launch in each.
    """

    kind = "batch_predict"

    version = forms.ChoiceField(label="Model version", help_text="Archived versions are not offered.")

    def __init__(
        self, *args: Any, versions: Sequence[tuple[str, str]], any_project: bool = True, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._offer("version", [("", "Choose a version"), *versions])
        if any_project:
            self._offer("project", [("", "The version's own"), *self.fields["project"].choices])  # type: ignore[attr-defined]
            self.fields["project"].required = False
        self.fields["dataset"].help_text = "It needs the columns that the model was trained on; others are ignored."
        self.fields[
            "max_minutes"
        ].help_text = "The job stops here without a result. The limit applies to all attempts together. Empty: three times the duration of similar runs."
