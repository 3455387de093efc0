"""The launch form: what to learn, how, on which device, and what that will cost before anything runs."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from compute import jobs
from compute import queries as work
from models_app import queries
from models_app.forms import LaunchForm, ParameterForm
from models_app.recipes.base import Recipe
from models_app.views.offers import Refusal, quote_of, refusal_of
from models_app.views.offers import devices as offered_devices
from tenants import queries as tenancy
from tenants.actor import Actor
from tenants.edges import page
from tenants.errors import ExchequerError, Invalid
from tenants.ids import uuid7
from tenants.views.once import once

MAIN_FIELDS = 4
ELSEWHERE = {"max_seconds": "max_minutes", "dataset_version": "dataset"}


class Launch:
    """The form's parts for one request: choices on offer, what was entered, and what that asks for."""

    def __init__(
        self, request: HttpRequest, data: Mapping[str, Any] | None, initial: Mapping[str, Any] | None = None
    ) -> None:
        self.actor: Actor = request.actor  # type: ignore[attr-defined]
        self.currency: str = request.tenant.currency  # type: ignore[attr-defined]
        self.recipes = queries.recipe_cards()
        self.projects = tenancy.projects()
        self.datasets = queries.launchable(self.actor)
        self.devices = offered_devices(self.currency)
        started = dict(initial or {})
        self.form = LaunchForm(
            data,
            initial=started,
            projects=[(str(project.id), project.name) for project in self.projects],
            recipes=self.recipes,
            datasets=[(str(row.version_id), row.label) for row in self.datasets],
            devices=[device.name for device in self.devices],
            currency=self.currency,
        )
        entered = data or started
        self.recipe = self._recipe(str(entered.get("recipe", "")))
        self.dataset = next((row for row in self.datasets if str(row.version_id) == entered.get("dataset")), None)
        self.parameters = ParameterForm(
            self.recipe,
            data,
            dataset=self.dataset,
            initial=started.get("params"),
            target=str(entered.get("p-target") or started.get("target") or ""),
        )

    def _recipe(self, chosen: str) -> Recipe:
        return next((recipe for recipe in self.recipes if recipe.id == chosen), self.recipes[0])

    def request_body(self, name: str = "") -> dict[str, Any]:
        """Return the arguments of `jobs.submit` and `jobs.check`; call after both forms are valid."""
        data, parameters = self.form.cleaned_data, self.parameters.parameters()
        parameters.pop("target", None)
        return {
            "name": name or data["name"],
            "kind": "train",
            "project_id": UUID(data["project"]),
            "spec": {
                "recipe": self.recipe.id,
                "dataset_version": data["dataset"],
                "target": self.parameters.target(),
                "params": parameters,
                "model": data.get("model", ""),
            },
            "device_class": data["device_class"],
            "tier": data["tier"],
            "max_seconds": data["max_minutes"] * 60,
            "max_cost": data["max_cost"],
        }

    def blame(self, refused: Invalid) -> None:
        """Put each message of a refusal beside the field it is about."""
        for name, texts in refused.fields.items():
            short = name.removeprefix("params.")
            own = ELSEWHERE.get(name, name)
            if short in self.parameters.fields and (name.startswith("params.") or name == "target"):
                self.parameters.add_error(short, texts)
            else:
                self.form.add_error(own if own in self.form.fields else None, texts)

    def marked(self) -> list[str]:
        """Return the labels of the fields that hold a mistake, of both forms."""
        if not self.form.is_bound:
            return []
        return [str(field.label) for part in (self.form, self.parameters) for field in part if field.errors]

    def context(self, **more: Any) -> dict[str, Any]:
        """Return what the page shows."""
        bound = list(self.parameters)
        chosen = self.form.data if self.form.is_bound else self.form.initial
        return {
            "form": self.form,
            "recipes": self.recipes,
            "devices": self.devices,
            "chosen_recipe": self.recipe.id,
            "chosen_device": chosen.get("device_class") or (self.devices[0].name if self.devices else ""),
            "chosen_tier": chosen.get("tier", "on_demand"),
            "main_fields": bound[:MAIN_FIELDS],
            "more_fields": bound[MAIN_FIELDS:],
            "marked": self.marked(),
            "more_open": any(field.errors for field in bound[MAIN_FIELDS:]),
            **more,
        }


@page("jobs.launch")
def launch(request: HttpRequest) -> HttpResponse:
    """Show the form, or launch the job; what is refused is said on the form, which keeps what was entered."""
    if request.method != "POST":
        parts = Launch(request, None, _started(request))
        return render(request, "models_app/launch.html", parts.context(missing=_missing(request, parts)))
    parts = Launch(request, request.POST)
    refusal: Refusal | None = None
    status = 422
    if parts.form.is_valid() & parts.parameters.is_valid():
        try:
            with transaction.atomic():
                return redirect(once(parts.actor, parts.form.cleaned_data["key"], lambda: _submit(request, parts)))
        except Invalid as refused:
            parts.blame(refused)
        except ExchequerError as refused:
            refusal, status = refusal_of(refused, parts.currency), refused.status
    return render(request, "models_app/launch.html", parts.context(refusal=refusal, missing=None), status=status)


@require_POST
@page("jobs.launch")
def quote(request: HttpRequest) -> HttpResponse:
    """Answer the cost panel for what is entered so far; asked for at every change."""
    parts = Launch(request, request.POST)
    if not request.POST.get("dataset"):
        return render(request, "models_app/_quote.html", {})
    parts.form.fields["name"].required = False
    if not (parts.form.is_valid() & parts.parameters.is_valid()):
        return render(request, "models_app/_quote.html", {"quote_faults": _faults(parts)})
    try:
        order = jobs.check(
            actor=parts.actor, tags={}, **parts.request_body(name=parts.form.cleaned_data["name"] or "quote")
        )
        return render(request, "models_app/_quote.html", {"quote": quote_of(order, jobs.estimate(order))})
    except Invalid as refused:
        parts.blame(refused)
        return render(request, "models_app/_quote.html", {"quote_faults": _faults(parts)})
    except ExchequerError as refused:
        return render(request, "models_app/_quote.html", {"quote_faults": [refused.message]})


@require_safe
@page("jobs.launch")
def parameters(request: HttpRequest) -> HttpResponse:
    """Answer the fields of the chosen recipe for the chosen dataset, keeping what was entered where it still fits."""
    entered = {name.removeprefix("p-"): value for name, value in request.GET.items() if name.startswith("p-")}
    target = entered.pop("target", "")
    started = {
        "recipe": request.GET.get("recipe", ""),
        "dataset": request.GET.get("dataset", ""),
        "params": entered,
        "target": target,
    }
    return render(request, "models_app/_parameters.html", Launch(request, None, started).context())


def _submit(request: HttpRequest, parts: Launch) -> str:
    job = jobs.submit(actor=parts.actor, **parts.request_body())
    return reverse("job", args=(request.tenant.slug, job.id))  # type: ignore[attr-defined]


def _started(request: HttpRequest) -> dict[str, Any]:
    """Return the form's first values: those of the job to clone, or of the dataset one came from."""
    started: dict[str, Any] = {"key": uuid7(), "dataset": request.GET.get("dataset", "")}
    try:
        source = work.job_detail(UUID(request.GET.get("clone", "")))
    except (ValueError, ExchequerError):
        return started
    return {
        **started,
        "name": source.name,
        "project": str(source.project_id),
        "recipe": source.spec.get("recipe", ""),
        "dataset": source.spec.get("dataset_version", ""),
        "target": source.spec.get("target", ""),
        "params": source.spec.get("params", {}),
        "device_class": source.device_class,
        "tier": source.tier,
        "max_minutes": max(1, source.max_seconds // 60),
        "max_cost": source.max_cost.amount.normalize() if source.max_cost else None,
    }


def _missing(request: HttpRequest, parts: Launch) -> dict[str, str] | None:
    """Say what has to be there before a job can be launched, and the way to it."""
    slug = request.tenant.slug  # type: ignore[attr-defined]
    if not parts.datasets:
        may = parts.actor.can("datasets.create")
        text = "A job learns from a dataset. Upload a CSV or Parquet table; once it has been read, you can train on it."
        return {
            "icon": "database",
            "title": "No dataset is ready yet",
            "text": text,
            "url": reverse("dataset-upload", args=(slug,)) if may else "",
            "label": "Upload dataset",
        }
    if not parts.devices:
        text = "No node has registered a device. Whoever runs this installation starts one; it appears here by itself."
        return {"icon": "cpu", "title": "No device to run on", "text": text, "url": "", "label": ""}
    return None


def _faults(parts: Launch) -> list[str]:
    named = {**parts.form.fields, **parts.parameters.fields}
    found = {**parts.form.errors, **parts.parameters.errors}
    return [
        f"{named[name].label}: {' '.join(map(str, texts))}" if name in named else " ".join(map(str, texts))
        for name, texts in found.items()
    ]
