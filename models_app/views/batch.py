"""The batch prediction form: which version over which dataset, and what that will cost; and the way to its result."""

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
from models_app import batch, queries
from models_app.forms import BatchForm
from models_app.views.offers import Refusal, quote_of, refusal_of
from models_app.views.offers import devices as offered_devices
from tenants import queries as tenancy
from tenants.actor import Actor
from tenants.edges import page
from tenants.errors import ExchequerError, Invalid
from tenants.ids import uuid7
from tenants.scoping import tenant_scope
from tenants.views.once import once

ELSEWHERE = {"max_seconds": "max_minutes", "dataset_version": "dataset", "model_version": "version"}
ENDING = "without a result"


class BatchLaunch:
    """The form's parts for one request: choices on offer, what was entered, and what that asks for."""

    def __init__(
        self, request: HttpRequest, data: Mapping[str, Any] | None, initial: Mapping[str, Any] | None = None
    ) -> None:
        self.actor: Actor = request.actor  # type: ignore[attr-defined]
        self.currency: str = request.tenant.currency  # type: ignore[attr-defined]
        self.versions = queries.usable(self.actor)
        self.datasets = queries.launchable(self.actor)
        self.devices = offered_devices(self.currency, batch.BatchPredictKind.meter)
        self.form = BatchForm(
            data,
            initial=dict(initial or {}),
            projects=[(str(project.id), project.name) for project in tenancy.projects()],
            versions=[(str(version_id), label) for version_id, label in self.versions],
            datasets=[(str(row.version_id), row.label) for row in self.datasets],
            devices=[device.name for device in self.devices],
            currency=self.currency,
        )

    def request_body(self, name: str = "") -> dict[str, Any]:
        """Return the arguments of `jobs.submit` and `jobs.check`; call after the form is valid."""
        data = self.form.cleaned_data
        return {
            "name": name or data["name"],
            "kind": batch.KIND,
            "project_id": UUID(data["project"]),
            "spec": {"model_version": data["version"], "dataset_version": data["dataset"]},
            "device_class": data["device_class"],
            "tier": data["tier"],
            "max_seconds": data["max_minutes"] * 60,
            "max_cost": data["max_cost"],
        }

    def blame(self, refused: Invalid) -> None:
        """Put each message of a refusal beside the field it is about."""
        for name, texts in refused.fields.items():
            own = ELSEWHERE.get(name, name)
            self.form.add_error(own if own in self.form.fields else None, texts)

    def faults(self) -> list[str]:
        """Return every mistake as a sentence, for the cost panel."""
        fields = self.form.fields
        return [
            f"{fields[name].label}: {' '.join(map(str, texts))}" if name in fields else " ".join(map(str, texts))
            for name, texts in self.form.errors.items()
        ]

    def context(self, **more: Any) -> dict[str, Any]:
        """Return what the page shows."""
        chosen = self.form.data if self.form.is_bound else self.form.initial
        marked = [str(field.label) for field in self.form if field.errors] if self.form.is_bound else []
        return {
            "form": self.form,
            "devices": self.devices,
            "chosen_device": chosen.get("device_class") or (self.devices[0].name if self.devices else ""),
            "chosen_tier": chosen.get("tier", "on_demand"),
            "restarts": True,
            "marked": marked,
            **more,
        }


@page("jobs.launch")
def batch_launch(request: HttpRequest) -> HttpResponse:
    """Show the form, or launch the batch prediction; what is refused is said on the form, which keeps what was entered."""
    if request.method != "POST":
        parts = BatchLaunch(request, None, _started(request))
        return render(request, "models_app/batch.html", parts.context(missing=_missing(request, parts)))
    parts = BatchLaunch(request, request.POST)
    refusal: Refusal | None = None
    status = 422
    if parts.form.is_valid():
        try:
            with transaction.atomic():
                return redirect(once(parts.actor, parts.form.cleaned_data["key"], lambda: _submit(request, parts)))
        except Invalid as refused:
            parts.blame(refused)
        except ExchequerError as refused:
            refusal, status = refusal_of(refused, parts.currency), refused.status
    return render(request, "models_app/batch.html", parts.context(refusal=refusal, missing=None), status=status)


@require_POST
@page("jobs.launch")
def batch_quote(request: HttpRequest) -> HttpResponse:
    """Answer the cost panel for what is entered so far; asked for at every change."""
    parts = BatchLaunch(request, request.POST)
    if not request.POST.get("dataset") or not request.POST.get("version"):
        return render(request, "models_app/_quote.html", {"choose": "a version and a dataset"})
    parts.form.fields["name"].required = False
    if not parts.form.is_valid():
        return render(request, "models_app/_quote.html", {"quote_faults": parts.faults()})
    try:
        asked = parts.request_body(name=parts.form.cleaned_data["name"] or "quote")
        order = jobs.check(actor=parts.actor, tags={}, **asked)
        shown = quote_of(order, jobs.estimate(order), ending=ENDING)
        return render(request, "models_app/_quote.html", {"quote": shown})
    except Invalid as refused:
        parts.blame(refused)
        return render(request, "models_app/_quote.html", {"quote_faults": parts.faults()})
    except ExchequerError as refused:
        return render(request, "models_app/_quote.html", {"quote_faults": [refused.message]})


@require_safe
@page("jobs.view", own_transaction=True)
def job_result(request: HttpRequest, job_id: UUID) -> HttpResponse:
    """Lead to a file of the result, `?format=parquet` or CSV: a link to the object store that is good for five minutes."""
    wanted = "parquet" if request.GET.get("format") == "parquet" else "csv"
    with tenant_scope(request.tenant_id):  # type: ignore[attr-defined]
        found = batch.result(request.actor, job_id)  # type: ignore[attr-defined]
    return redirect(next(file.url for file in found.files if file.format == wanted))


def _submit(request: HttpRequest, parts: BatchLaunch) -> str:
    job = jobs.submit(actor=parts.actor, **parts.request_body())
    return reverse("job", args=(request.tenant.slug, job.id))  # type: ignore[attr-defined]


def _started(request: HttpRequest) -> dict[str, Any]:
    """Return the form's first values: those of the job to clone, or of the version or dataset one came from."""
    version = request.GET.get("version", "")
    started: dict[str, Any] = {"key": uuid7(), "version": version, "dataset": request.GET.get("dataset", "")}
    label = next((label for known, label in queries.usable(request.actor) if str(known) == version), "")  # type: ignore[attr-defined]
    if label:
        started["name"] = f"{label.partition(',')[0]} batch"[-120:]
    try:
        source = work.job_detail(UUID(request.GET.get("clone", "")))
    except (ValueError, ExchequerError):
        return started
    return {
        **started,
        "name": source.name,
        "project": str(source.project_id),
        "version": source.spec.get("model_version", ""),
        "dataset": source.spec.get("dataset_version", ""),
        "device_class": source.device_class,
        "tier": source.tier,
        "max_minutes": max(1, source.max_seconds // 60),
        "max_cost": source.max_cost.amount.normalize() if source.max_cost else None,
    }


def _missing(request: HttpRequest, parts: BatchLaunch) -> dict[str, str] | None:
    """Say what has to be there before anything can be predicted, and the way to it."""
    slug = request.tenant.slug  # type: ignore[attr-defined]
    if not parts.versions:
        text = "A batch prediction uses a model version. Train a model first; it appears here by itself."
        return {
            "icon": "box",
            "title": "No model to predict with",
            "text": text,
            "url": reverse("job-launch", args=(slug,)),
            "label": "Train a model",
        }
    if not parts.devices:
        text = "No node has registered a device. Whoever runs this installation starts one; it appears here by itself."
        return {"icon": "cpu", "title": "No device to run on", "text": text, "url": "", "label": ""}
    return None
