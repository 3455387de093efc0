"""The batch prediction form: version, dataset and expected cost; and the download of its result."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.http import HttpResponse
from django.http.response import HttpResponseBase
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from models_app import queries
from models_app.batch import batch
from models_app.files import downloads
from models_app.forms.datasets import BatchForm
from models_app.views.launches.form import NO_DEVICE, Ordering, cloned, launched, quoted, shown
from tenants.ids import uuid7
from tenants.parsing import uuid_in
from tenants.web.requests import TenantRequest
from tenants.web.views import page


class BatchLaunch(Ordering):
    """A batch prediction: a model version over a dataset version."""

    template = "models_app/batch.html"
    kind = batch.KIND
    meter = batch.BatchPredictKind.meter
    asks_first = ("dataset", "version")
    choose = "a version and a dataset"
    ending = "without a result"
    resumes = False
    elsewhere = {**Ordering.elsewhere, "model_version": "version"}

    def __init__(
        self, request: TenantRequest, data: Mapping[str, Any] | None, initial: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(request)
        self.versions = queries.usable(self.actor)
        also = uuid_in((data or initial or {}).get("dataset"))
        self.form = BatchForm(
            data,
            initial=dict(initial or {}),
            projects=self.projects,
            any_project=self.actor.can("jobs.launch"),
            versions=[(str(version_id), label) for version_id, label in self.versions],
            datasets=[(str(row.version_id), row.label) for row in queries.launchable(self.actor, also=also)],
            devices=[device.name for device in self.devices],
            shares=self.shares,
            currency=self.currency,
        )

    def spec(self) -> dict[str, Any]:
        """Return version and dataset."""
        data = self.form.cleaned_data
        return {"model_version": data["version"], "dataset_version": data["dataset"]}

    def project(self) -> UUID:
        """Return the chosen project, or that of the version, as deployments do."""
        data = self.form.cleaned_data
        return UUID(data["project"]) if data["project"] else queries.project_of(self.actor, UUID(data["version"]))

    def missing(self) -> dict[str, str] | None:
        """Return what is missing before a batch prediction can start, and where to create it."""
        if self.versions:
            return None if self.devices else NO_DEVICE
        return {
            "icon": "box",
            "title": "No model to predict with",
            "text": "A batch prediction uses a model version. Train a model first; its version then appears here.",
            "url": reverse("job-launch", args=(self.request.tenant.slug,)),
            "label": "Train a model",
        }


@page("jobs.launch")
def batch_launch(request: TenantRequest) -> HttpResponse:
    """Show the form, or launch the batch prediction."""
    if request.method != "POST":
        return shown(BatchLaunch(request, None, _started(request)))
    return launched(BatchLaunch(request, request.POST))


@require_POST
@page("jobs.launch")
def batch_quote(request: TenantRequest) -> HttpResponse:
    """Return the cost panel for the current input."""
    return quoted(BatchLaunch(request, request.POST))


@require_safe
@page("jobs.view", own_transaction=True)
def job_result(request: TenantRequest, job_id: UUID) -> HttpResponseBase:
    """Return a result file, `?format=parquet` or CSV."""
    wanted = "parquet" if request.GET.get("format") == "parquet" else "csv"
    actor = request.actor
    return downloads.answer(request, actor, lambda: downloads.batch_file(actor, job_id, wanted))


def _started(request: TenantRequest) -> dict[str, Any]:
    """Return the form's initial values, from the job to clone or from the version or dataset the person came from."""
    version = request.GET.get("version", "")
    started: dict[str, Any] = {"key": uuid7(), "version": version, "dataset": request.GET.get("dataset", "")}
    label = next((label for known, label in queries.usable(request.actor) if str(known) == version), "")
    if request.GET.get("name"):
        started["name"] = request.GET["name"]
    elif label:
        started["name"] = f"{label.partition(',')[0]} batch"[-120:]
    return started | cloned(
        request,
        lambda spec: {"version": spec.get("model_version", ""), "dataset": spec.get("dataset_version", "")},
    )
