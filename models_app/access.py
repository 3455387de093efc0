"""Visibility of datasets, models and endpoints, and of what is made from them.

A restricted dataset is visible to its creator, to those who may see all datasets, and to those it is shared with; what is
in a restricted project to those who see into it (`tenants/projects/sight.py`). Without `shared`, what an actor sees by a
share of the object itself is left out: this it uses and does not manage (`managed_models`, and the `own_` functions).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any
from uuid import UUID

from django.db.models import F, Q, Subquery, TextField, Value
from django.db.models.fields.json import KeyTextTransform
from django.db.models.functions import Cast, Coalesce, Concat
from django.db.models.lookups import In

from compute.jobs.visibility import visible_jobs
from compute.models import FINAL_STATES, Job
from models_app.models import (
    Dataset,
    DatasetVersion,
    Endpoint,
    EndpointKey,
    Model,
    ModelVersion,
)
from tenants.access.actor import Actor
from tenants.access.reader import reader
from tenants.access.rights import VIEW_ALL
from tenants.audit import differences, withheld
from tenants.errors import Conflict, Invalid
from tenants.isolation.pages import Texts, as_texts
from tenants.isolation.scoping import TenantQuerySet
from tenants.models import Project
from tenants.projects.sight import in_sight, sees_everywhere
from tenants.rights import held
from tenants.sharing.shares import shared_with

VIEW_RESTRICTED = "datasets.view_restricted"


#: What reads of datasets, models and endpoints ask for.
READS = ("datasets.view", "models.view", "endpoints.view")


def sees_everything(actor: Actor) -> bool:
    """Return whether no dataset and no project is hidden from an actor."""
    if actor.kind == "system" or (actor.can(VIEW_RESTRICTED) and actor.can(VIEW_ALL)):
        return True
    return not actor.restricts and all(sees_everywhere(actor, permission) for permission in READS)


def visible_datasets(actor: Actor, *, shared: bool = True) -> TenantQuerySet[Dataset]:
    """Return the datasets of the open scope that the actor may see.

    They are those of the projects that it sees into and of the organisation, but restricted ones of others; and those
    shared with it. The organisation's are everybody's: also of those whose rights are in single projects only, who work
    with them there.
    """
    rows = Dataset.objects.get_queryset()
    if sees_everything(actor):
        return rows
    seen = in_sight(actor, "datasets.view")
    if not actor.can(VIEW_RESTRICTED):
        seen &= Q(restricted=False) | Q(created_by__in=actor.own_ids)
    return rows.filter(seen | shared_with(actor, "dataset") if shared else seen)


def own_datasets(actor: Actor) -> TenantQuerySet[Dataset]:
    """Return the datasets that an actor sees without a share."""
    return visible_datasets(actor, shared=False)


def visible_versions(actor: Actor, *, shared: bool = True) -> TenantQuerySet[ModelVersion]:
    """Return the model versions of the open scope that the actor may see.

    Those made in projects that it sees into, from datasets that it sees, and those of models shared with it.
    """
    rows = ModelVersion.objects.get_queryset().select_related("model")
    if sees_everything(actor):
        return rows
    made = in_sight(actor, "models.view") & Q(dataset_version__dataset__in=visible_datasets(actor).values("id"))
    return rows.filter(made | shared_with(actor, "model", "model_id") if shared else made)


def visible_models(actor: Actor) -> TenantQuerySet[Model]:
    """Return the models of the open scope of which the actor sees a version."""
    rows = Model.objects.get_queryset()
    return rows if sees_everything(actor) else rows.filter(id__in=visible_versions(actor).values("model_id"))


def managed_models(actor: Actor) -> TenantQuerySet[Model]:
    """Return the models of which an actor sees every version without a share: sharing one opens all of them."""
    rows = Model.objects.get_queryset()
    if sees_everything(actor):
        return rows
    own = visible_versions(actor, shared=False).values("id")
    beyond = ModelVersion.objects.exclude(id__in=own).values("model_id")
    return rows.filter(versions__isnull=False).exclude(id__in=beyond).distinct()


def visible_endpoints(actor: Actor, *, shared: bool = True) -> TenantQuerySet[Endpoint]:
    """Return the endpoints of the open scope that the actor may see.

    Those in projects that it sees into which serve a version that it sees, and those shared with it.
    """
    rows = Endpoint.objects.get_queryset()
    if sees_everything(actor):
        return rows
    live = in_sight(actor, "endpoints.view") & Q(version__in=visible_versions(actor).values("id"))
    return rows.filter(live | shared_with(actor, "endpoint") if shared else live)


def own_endpoints(actor: Actor) -> TenantQuerySet[Endpoint]:
    """Return the endpoints that an actor sees without a share."""
    return visible_endpoints(actor, shared=False)


def endpoint_audience(endpoint: Endpoint) -> str:
    """Return the permission of those who are notified about an endpoint, with its name and columns.

    In a restricted project, or for a model from a restricted dataset, these are only members who see every one.
    """
    if Project.objects.filter(id=endpoint.project_id, restricted=True).exists():
        return VIEW_ALL
    data = Dataset.objects.filter(versions__id=endpoint.version.dataset_version_id)
    closed = Q(restricted=True) | Q(project__restricted=True)
    return VIEW_RESTRICTED if data.filter(closed).exists() else "endpoints.manage"


def version_audience(version: ModelVersion) -> Q:
    """Return the condition of memberships that are notified about a version: those that see into its project and data."""
    data = Dataset.objects.get(versions__id=version.dataset_version_id)
    seen = held.opening(version.project_id) & held.opening(data.project_id)
    return seen & Q(id__in=held.holding(VIEW_RESTRICTED).values("id")) if data.restricted else seen


def hidden_work(actor: Actor) -> Q | None:
    """Return the condition of jobs whose dataset is hidden from an actor, None if none is.

    The dataset is the job's own, or that of its model.
    """
    if sees_everything(actor):
        return None
    # The same for each request of the same person with the same rights.
    return _hidden_work(replace(actor, credential="", ip="", user_agent="", request_id=""))


@lru_cache(maxsize=64)
def _hidden_work(actor: Actor) -> Q:
    """Return the condition. Building it takes longer than any statement with it, and a page asks for it ten times."""
    seen = visible_datasets(actor).values("id")
    made = ModelVersion.objects.exclude(id__in=visible_versions(actor).values("id"))
    named = {"dataset": Dataset.objects.exclude(id__in=seen), "model_version": made}
    found = Q(pk__in=())
    for name, rows in named.items():
        ids = rows.annotate(text=Cast("id", TextField())).values("text")
        # A job without the field has the empty text, which is no id; NULL would hide it.
        found |= Q(In(Coalesce(KeyTextTransform(name, "spec"), Value(""), output_field=TextField()), ids))
    return found


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


def hidden_version_names(actor: Actor, texts: set[str], what: str) -> list[Texts]:
    """Return the read of the names in these texts, such as `risk v2`, of versions that the actor may not see."""
    if sees_everything(actor):
        return []
    found = ModelVersion.objects.filter(model__name__in={text.rpartition(" v")[0] for text in texts} - {""})
    hidden = found.exclude(id__in=visible_versions(actor).values("id"))
    return [as_texts(what, hidden, _version_name("model"))]


def names_of(ids: set[UUID]) -> list[Texts]:
    """Return the reads of the names of those of these dataset versions, model versions and endpoints that the reader may see."""
    who = reader()
    data = DatasetVersion.objects.filter(id__in=ids)
    made = ModelVersion.objects.filter(id__in=ids)
    served = Endpoint.objects.filter(id__in=ids)
    if who is not None:
        data = data.filter(dataset__in=visible_datasets(who))
        made = made.filter(id__in=visible_versions(who).values("id"))
        served = served.filter(id__in=visible_endpoints(who).values("id"))
    return [
        as_texts(differences.NAME, data, "id", _version_name("dataset")),
        as_texts(differences.NAME, made, "id", _version_name("model")),
        as_texts(differences.NAME, served, "id", "name"),
    ]


def _version_name(of: str) -> Concat:
    return Concat(F(f"{of}__name"), Value(" v"), Cast("number", TextField()), output_field=TextField())


def register_audited() -> None:
    """Register with the audit log: names of versions, and which entries about data, models and endpoints to redact."""
    differences.register(names_of)

    def of(model: type[Any], path: str, seen: Callable[[Actor], Any]) -> withheld.Objects:
        def named(actor: Actor, ids: set[UUID]) -> Any:
            if sees_everything(actor):
                return None  # deleted ones too
            return model.objects.filter(id__in=ids).filter(**{f"{path}__in": seen(actor).values("id")})

        return named

    withheld.register("dataset", of(Dataset, "id", visible_datasets))
    withheld.register("datasetversion", of(DatasetVersion, "dataset", visible_datasets))
    withheld.register("model", of(Model, "id", visible_models))
    withheld.register("modelversion", of(ModelVersion, "id", visible_versions))
    withheld.register("endpoint", of(Endpoint, "id", visible_endpoints), hidden_version_names)
    withheld.register("endpointkey", of(EndpointKey, "endpoint", visible_endpoints))
