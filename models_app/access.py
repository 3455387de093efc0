"""Visibility of restricted datasets.

They are visible to the creator, to those who may see all datasets, and to those they are shared with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from uuid import UUID

from django.db.models import Q, Subquery, TextField
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast

from compute.jobs.visibility import visible_jobs
from compute.models import FINAL_STATES, Job
from models_app.models import (
    Dataset,
    DatasetUserPermission,
    DatasetVersion,
    Endpoint,
    EndpointKey,
    Model,
    ModelVersion,
)
from tenants.access.actor import Actor
from tenants.access.reader import reader
from tenants.audit import differences, withheld
from tenants.errors import Conflict, Invalid
from tenants.isolation.scoping import TenantQuerySet

VIEW_DATASET = "view_dataset"


def visible_datasets(actor: Actor) -> TenantQuerySet[Dataset]:
    """Return the datasets of the open scope that the actor may see."""
    rows = Dataset.objects.get_queryset()
    if actor.kind == "system" or actor.can("datasets.view_restricted"):
        return rows
    shared = DatasetUserPermission.objects.filter(user_id=actor.id, permission__codename=VIEW_DATASET).values(
        "content_object_id"
    )
    return rows.filter(Q(restricted=False) | Q(created_by=actor.id, created_by__isnull=False) | Q(id__in=shared))


def visible_versions(actor: Actor) -> TenantQuerySet[ModelVersion]:
    """Return the model versions of the open scope made from datasets that the actor may see."""
    rows = ModelVersion.objects.get_queryset()
    return rows.filter(dataset_version__dataset__in=visible_datasets(actor)).select_related("model")


def endpoint_audience(version: ModelVersion) -> str:
    """Return the permission of those who are notified about an endpoint that serves a version, with name and columns.

    For a model from a restricted dataset these are only members who see every dataset.
    """
    restricted = Dataset.objects.filter(versions__id=version.dataset_version_id, restricted=True).exists()
    return "datasets.view_restricted" if restricted else "endpoints.manage"


def visible_work(kind: str) -> Callable[[Actor, TenantQuerySet[Job]], TenantQuerySet[Job]]:
    """Return a filter that removes jobs of a kind whose dataset is hidden from the actor.

    The dataset is the job's own, or that of its model.
    """

    def narrow(actor: Actor, rows: TenantQuerySet[Job]) -> TenantQuerySet[Job]:
        if actor.can("datasets.view_restricted"):
            return rows
        seen = visible_datasets(actor).values("id")
        datasets = Dataset.objects.exclude(id__in=seen)
        versions = ModelVersion.objects.exclude(dataset_version__dataset__in=seen)
        named = {"dataset": datasets, "model_version": versions}
        rows = rows.alias(**{f"of_{name}": KeyTextTransform(name, "spec") for name in named})
        for name, hidden in named.items():
            ids = hidden.annotate(text=Cast("id", TextField())).values("text")
            rows = rows.exclude(Q(**{"kind": kind, f"of_{name}__isnull": False, f"of_{name}__in": ids}))
        return rows

    return narrow


class ModelNameTaken(Conflict):
    """The model's name was taken while this ran. Launch it again with another one."""

    code = "model_name_taken"


def admit_model_name(actor: Actor, name: str, spec: dict[str, Any]) -> None:
    """Refuse to train into a model hidden from the actor, or into one that a hidden job trains.

    The message is the same as for a taken name. Raises Invalid.
    """
    wanted = spec.get("model") or name
    if visible_versions(actor).filter(model__name=wanted).exists():
        return
    trains = Q(spec__model=wanted) | Q(spec__model="", name=wanted)
    unended = Job.objects.filter(trains, kind="train").exclude(state__in=FINAL_STATES)
    if (
        ModelVersion.objects.filter(model__name=wanted).exists()
        or unended.exclude(id__in=visible_jobs(actor).values("id")).exists()
    ):
        raise Invalid(fields={"model": ["This name is taken. Choose another one."]})


def admit_version(actor: Actor, model: Model, job_id: UUID, dataset_version_id: UUID) -> None:
    """Refuse a version of a locked model that became hidden while a job trained the version. Raises ModelNameTaken.

    A model that already had versions at launch is not checked again, nor is one with a version from the dataset that the
    job was launched on: that was checked then, and the launcher may have left since.
    """
    versions = ModelVersion.objects.filter(model=model)
    launched = Job.objects.filter(id=job_id).values("submitted_at")[:1]
    of_its_data = Q(dataset_version__dataset__versions__id=dataset_version_id)
    if versions.filter(Q(created_at__lt=Subquery(launched)) | of_its_data).exists():
        return
    if versions.exists() and not visible_versions(actor).filter(model=model).exists():
        raise ModelNameTaken


def hidden_version_names(actor: Actor, texts: set[str]) -> set[str]:
    """Return which of these texts are names of versions, such as `risk v2`, that the actor may not see."""
    if actor.can("datasets.view_restricted"):
        return set()
    named = {text: text.rpartition(" v") for text in texts}
    found = ModelVersion.objects.filter(model__name__in={name for name, _, _ in named.values() if name})
    hidden = found.exclude(id__in=visible_versions(actor).values("id")).values_list("model__name", "number")
    return {f"{name} v{number}" for name, number in hidden} & texts


def names_of(ids: set[UUID]) -> dict[UUID, str]:
    """Return the display names of those of these dataset versions, model versions and endpoints that the reader may see."""
    who = reader()
    data = DatasetVersion.objects.filter(id__in=ids)
    made = ModelVersion.objects.filter(id__in=ids)
    served = Endpoint.objects.filter(id__in=ids)
    if who is not None:
        data = data.filter(dataset__in=visible_datasets(who))
        made = made.filter(id__in=visible_versions(who).values("id"))
        served = served.filter(version__in=visible_versions(who).values("id"))
    found = [*data.values_list("id", "dataset__name", "number"), *made.values_list("id", "model__name", "number")]
    return {one: f"{name} v{number}" for one, name, number in found} | dict(served.values_list("id", "name"))


def register_audited() -> None:
    """Register with the audit log: names of versions, and which entries about data, models and endpoints to redact."""
    differences.register(names_of)

    def of(model: type[Any], path: str, seen: Callable[[Actor], Any]) -> Callable[[Actor, set[UUID]], Iterable[UUID]]:
        def named(actor: Actor, ids: set[UUID]) -> Iterable[UUID]:
            if actor.can("datasets.view_restricted"):
                return ids  # deleted ones too
            rows = model.objects.filter(id__in=ids).filter(**{f"{path}__in": seen(actor).values("id")})
            return rows.values_list("id", flat=True)  # type: ignore[no-any-return]

        return named

    withheld.register("dataset", of(Dataset, "id", visible_datasets))
    withheld.register("datasetversion", of(DatasetVersion, "dataset", visible_datasets))
    withheld.register("model", of(Model, "versions", visible_versions))
    withheld.register("modelversion", of(ModelVersion, "id", visible_versions))
    withheld.register("endpoint", of(Endpoint, "version", visible_versions), hidden_version_names)
    withheld.register("endpointkey", of(EndpointKey, "endpoint__version", visible_versions))
