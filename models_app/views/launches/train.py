"""The launch form: data, recipe, device, and the expected cost before anything runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from django import forms
from django.http import HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from models_app import queries
from models_app.datasets.column_choices import ColumnReading, column_readings
from models_app.forms.datasets import LaunchForm
from models_app.forms.grid import GridForm
from models_app.forms.parameters import ParameterForm
from models_app.recipes.base import Recipe
from models_app.training.training import TrainKind
from models_app.views.launches.array import Array
from models_app.views.launches.form import NO_DEVICE, Ordering, cloned, launched, quoted, shown
from tenants.errors import Invalid
from tenants.ids import uuid7
from tenants.parsing import uuid_in
from tenants.web.requests import TenantRequest
from tenants.web.views import page

MAIN_FIELDS = 4
COLUMNS_SHOWN = 200


class Launch(Ordering):
    """A training job: a recipe with its parameters over a dataset version."""

    template = "models_app/launch.html"
    kind = TrainKind.name
    meter = TrainKind.meter
    asks_first = ("dataset",)
    choose = "a dataset"
    ending = "with a checkpoint and no model"

    def __init__(
        self, request: TenantRequest, data: Mapping[str, Any] | None, initial: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(request)
        self.recipes = queries.recipe_cards()
        started = dict(initial or {})
        entered = data or started
        self.datasets = queries.launchable(self.actor, also=uuid_in(entered.get("dataset")))
        self.form = LaunchForm(
            data,
            initial=started,
            projects=self.projects,
            recipes=self.recipes,
            datasets=[(str(row.version_id), row.label) for row in self.datasets],
            devices=[device.name for device in self.devices],
            shares=self.shares,
            currency=self.currency,
        )
        self.dataset = self._dataset(str(entered.get("dataset", "")))
        self.recipe = self._recipe(str(entered.get("recipe", "")))
        self.parameters = ParameterForm(
            self.recipe,
            data,
            dataset=self.dataset,
            initial=started.get("params"),
            target=str(entered.get("p-target") or started.get("target") or ""),
        )
        self.grid = GridForm(self.recipe, data, currency=self.currency, initial=started.get("grid"))

    @property
    def all_forms(self) -> tuple[forms.Form, ...]:
        """The job's own form, that of its recipe's parameters, and that of an array."""
        return self.form, self.parameters, self.grid

    def array(self) -> Array | None:
        """Return the values to try, if some were entered."""
        vary, data = self.grid.vary(), self.grid.cleaned_data
        return Array(vary, data["cap"], data["most_at_once"]) if vary else None

    def _dataset(self, chosen: str) -> queries.Launchable | None:
        """Return the chosen dataset version with its profile, the basis of suggestions."""
        row = next((row for row in self.datasets if str(row.version_id) == chosen), None)
        return row and replace(row, profile=queries.profile(self.actor, row.dataset_id, row.version_id))

    def _recipe(self, chosen: str) -> Recipe:
        """Return the chosen recipe, or one that can learn the dataset's target, or any column of it."""
        if chosen or self.dataset is None:
            return next((recipe for recipe in self.recipes if recipe.id == chosen), self.recipes[0])
        profiled = self.dataset.profile.get("task")
        any_column = {task for column in self.dataset.columns for task in column.tasks}
        tasks = (profiled,) if profiled in self.dataset.tasks else self.dataset.tasks or any_column
        return next((recipe for recipe in self.recipes if recipe.task in tasks), self.recipes[0])

    def readings(self) -> Sequence[ColumnReading]:
        """Return how the first columns of the dataset are read; the dataset's page shows the others."""
        return column_readings(self.actor, self.dataset.version_id)[:COLUMNS_SHOWN] if self.dataset else ()

    def better(self) -> Recipe | None:
        """Return a recipe that can learn a column of the dataset, if the chosen one can learn none."""
        tasks = {task for column in self.dataset.columns for task in column.tasks} if self.dataset else set()
        if not self.dataset or self.recipe.task in tasks:
            return None
        return next((recipe for recipe in self.recipes if recipe.task in tasks), None)

    def waits_for(self) -> str:
        """Return the prompt for the next choice: a dataset, a suitable recipe, a target."""
        better = self.better()
        if super().waits_for() or self.parameters.data.get("p-target") or self.parameters.fields["target"].initial:
            return super().waits_for()
        return f"the recipe {better.title}" if better else "a target column"

    def spec(self) -> dict[str, Any]:
        """Return recipe, dataset, target, parameters and model."""
        data, parameters = self.form.cleaned_data, self.parameters.parameters()
        parameters.pop("target", None)
        return {
            "recipe": self.recipe.id,
            "dataset_version": data["dataset"],
            "target": self.parameters.target(),
            "params": parameters,
            "model": data.get("model", ""),
        }

    def blame(self, refused: Invalid) -> None:
        """Attach each message of a refusal to its field, in any of the forms."""
        others = {}
        for name, texts in refused.fields.items():
            short = name.removeprefix("params.")
            if short in self.parameters.fields and (name.startswith("params.") or name == "target"):
                self.parameters.add_error(short, texts)
            else:
                others[name] = texts
        super().blame(Invalid(fields=others))

    def missing(self) -> dict[str, str] | None:
        """Return what is missing before a job can be launched, and where to create it."""
        if self.datasets:
            return None if self.devices else NO_DEVICE
        may = self.actor.can_somewhere("datasets.create")
        return {
            "icon": "database",
            "title": "No dataset is ready yet",
            "text": "A training job needs a dataset. Upload a CSV or Parquet table; you can train on it when it is ready.",
            "url": reverse("dataset-upload", args=(self.request.tenant.slug,)) if may else "",
            "label": "Upload dataset",
        }

    def context(self, **more: Any) -> dict[str, Any]:
        """Return the template context."""
        bound = [one for one in self.parameters if one.name != "keep"]
        return super().context(
            recipes=self.recipes,
            chosen_recipe=self.recipe.id,
            better=self.better(),
            parameters=self.parameters,
            chosen_dataset=self.dataset,
            readings=self.readings(),
            main_fields=bound[:MAIN_FIELDS],
            more_fields=bound[MAIN_FIELDS:],
            more_open=any(field.errors for field in bound[MAIN_FIELDS:]),
            grid=self.grid,
            **more,
        )


@page("jobs.launch")
def launch(request: TenantRequest) -> HttpResponse:
    """Show the form, or launch the job."""
    if request.method != "POST":
        return shown(Launch(request, None, _started(request)))
    return launched(Launch(request, request.POST))


@require_POST
@page("jobs.launch")
def quote(request: TenantRequest) -> HttpResponse:
    """Return the cost panel for the current input."""
    return quoted(Launch(request, request.POST))


@require_safe
@page("jobs.launch")
def parameters(request: TenantRequest) -> HttpResponse:
    """Return the fields of the chosen recipe for the chosen dataset; input that still fits is kept."""
    entered: dict[str, Any] = {
        name.removeprefix("p-"): value for name, value in request.GET.items() if name.startswith("p-")
    }
    entered["keep"] = request.GET.getlist("p-keep")
    target = entered.pop("target", "")
    started = {
        "recipe": request.GET.get("recipe", ""),
        "dataset": request.GET.get("dataset", ""),
        "params": entered,
        "target": target,
        "grid": {name.removeprefix("v-"): value for name, value in request.GET.items() if name.startswith("v-")},
    }
    return render(request, "models_app/_parameters.html", Launch(request, None, started).context())


def _started(request: TenantRequest) -> dict[str, Any]:
    """Return the form's initial values, from the job to clone or from the dataset the person came from."""
    asked = {name: request.GET.get(name, "") for name in ("name", "dataset", "recipe")}
    started: dict[str, Any] = {"key": uuid7(), **asked}
    return started | cloned(
        request,
        lambda spec: {
            "recipe": spec.get("recipe", ""),
            "dataset": spec.get("dataset_version", ""),
            "target": spec.get("target", ""),
            "params": spec.get("params", {}),
            "model": spec.get("model", ""),
        },
    )
