"""Which model work is for, and whose endpoints are, for the chargeback of billing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from uuid import UUID

from billing.resource_names import WITHHELD
from billing.usage.owners import Owner
from compute.models import Job
from models_app.access import visible_models
from models_app.models import Endpoint, Model, ModelVersion
from tenants.access.reader import reader
from tenants.parsing import uuid_in


def models_of_jobs(ids: Collection[UUID]) -> Mapping[UUID, Owner]:
    """Return the model that each of these jobs trained or predicted with."""
    trained = ModelVersion.objects.filter(job_id__in=list(ids)).values_list("job_id", "model_id")
    found: dict[UUID, UUID] = dict(trained)
    rest = Job.objects.filter(id__in=[job for job in ids if job not in found], spec__has_key="model_version")
    asked = {job: uuid_in(str(version)) for job, version in rest.values_list("id", "spec__model_version")}
    versions = dict(ModelVersion.objects.filter(id__in=filter(None, asked.values())).values_list("id", "model_id"))
    found |= {job: versions[version] for job, version in asked.items() if version in versions}
    return _named(found)


def models_of_endpoints(ids: Collection[UUID]) -> Mapping[UUID, Owner]:
    """Return the model that each of these endpoints serves now."""
    return _named(dict(Endpoint.objects.filter(id__in=list(ids)).values_list("id", "version__model_id")))


def people_of_endpoints(ids: Collection[UUID]) -> Mapping[UUID, Owner]:
    """Return who made each of these endpoints."""
    rows = Endpoint.objects.filter(id__in=list(ids)).values_list("id", "created_by", "created_by_label")
    return {endpoint: Owner(str(person or label), label) for endpoint, person, label in rows}


def _named(found: Mapping[UUID, UUID]) -> dict[UUID, Owner]:
    """Return owners of models; those hidden from the reader are one value."""
    actor = reader()
    models = Model.objects.all() if actor is None else visible_models(actor)
    names = dict(models.filter(id__in=set(found.values())).values_list("id", "name"))
    hidden = Owner(WITHHELD, WITHHELD)
    return {one: Owner(str(model), names[model]) if model in names else hidden for one, model in found.items()}
