"""Registration of models: a successful job adds one version to the model it names."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Max

from models_app.access import admit_version
from models_app.events import ModelVersionRegistered
from models_app.models import Model, ModelVersion
from models_app.object_store.storage import Stored
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.events.events import publish
from tenants.identity.authentication import actor_today

MODEL_VERSION_REGISTERED = AuditAction("models_app.model_version.registered")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The result of a training job and its lineage."""

    model: str
    job_id: UUID
    attempt_id: UUID | None
    project_id: UUID
    submitted_by: UUID | None
    dataset_version_id: UUID
    recipe: str
    recipe_version: str
    recipe_digest: str
    params: dict[str, Any]
    metrics: dict[str, Any]
    training: dict[str, Any]
    signature: dict[str, Any]
    weights: Stored
    signature_file: Stored
    baseline: dict[str, Any] = field(default_factory=dict)


@operation(MODEL_VERSION_REGISTERED)
def register(*, actor: Actor, trained: Trained) -> ModelVersion:
    """Add a version to the model of this name, created if new. A job's second call returns the first version.

    Raises ModelNameTaken if meanwhile a model of this name was created that the job's launcher may not see.
    """
    before = ModelVersion.objects.filter(job_id=trained.job_id).first()
    if before is not None:
        unchanged("the job's version was registered before")
        return before
    fresh = Model(name=trained.model)
    fresh.claim_tenant()
    Model.objects.bulk_create([fresh], ignore_conflicts=True)
    model = Model.objects.select_for_update(no_key=True).get(name=trained.model)
    launcher = actor_today(actor.tenant_id, trained.submitted_by)
    admit_version(launcher, model, trained.job_id, trained.dataset_version_id)
    last = ModelVersion.objects.filter(model=model).aggregate(last=Max("number"))["last"] or 0
    version = ModelVersion.objects.create(
        model=model,
        number=last + 1,
        job_id=trained.job_id,
        attempt_id=trained.attempt_id,
        project_id=trained.project_id,
        dataset_version_id=trained.dataset_version_id,
        recipe=trained.recipe,
        recipe_version=trained.recipe_version,
        recipe_digest=trained.recipe_digest,
        params=trained.params,
        metrics=trained.metrics,
        training=trained.training,
        signature=trained.signature,
        baseline=trained.baseline,
        artefact_key=trained.weights.key,
        artefact_sha256=trained.weights.sha256,
        artefact_size=trained.weights.size,
        artefact_encrypted=trained.weights.encrypted,
        signature_key=trained.signature_file.key,
        signature_sha256=trained.signature_file.sha256,
        signature_size=trained.signature_file.size,
        signature_encrypted=trained.signature_file.encrypted,
        created_by=trained.submitted_by,
    )
    changes = {
        "version": [None, version.number],
        "job": [None, str(trained.job_id)],
        "dataset_version": [None, str(trained.dataset_version_id)],
        "artefact_sha256": [None, trained.weights.sha256],
    }
    record(
        MODEL_VERSION_REGISTERED,
        actor=actor,
        target=("modelversion", version.id, f"{model.name} v{version.number}"),
        changes=changes,
    )
    publish(
        ModelVersionRegistered(
            tenant_id=actor.tenant_id, model_id=model.id, version_id=version.id, job_id=trained.job_id
        )
    )
    return version
