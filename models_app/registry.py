"""The registry of models: a job that succeeded adds one version; people move it through its stages.

`production` is what may be deployed, so it takes an approver: whoever may not approve asks, and the version stays where it is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db.models import Max

from models_app.access import visible_versions
from models_app.events import ModelVersionRegistered
from models_app.models import Endpoint, EndpointState, Model, ModelVersion, Stage
from models_app.storage import Stored
from tenants import notifications, queries
from tenants.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.clock import now
from tenants.errors import Conflict, Invalid, NotFound
from tenants.events import publish
from tenants.parsing import holds_nul

MODEL_VERSION_REGISTERED = AuditAction("models_app.model_version.registered")
MODEL_VERSION_PROMOTED = AuditAction("models_app.model_version.promoted")
PROMOTION_REQUESTED = AuditAction("models_app.model_version.requested")
PROMOTION_DECLINED = AuditAction("models_app.model_version.declined")
MOST_REASON = 500
WAITS = "model.approval"


class VersionServes(Conflict):
    """This version answers at an endpoint. Undeploy it, or deploy another version there, first."""

    code = "version_serves"


class NothingToApprove(Conflict):
    """Nobody has asked for production for this version, or it was answered already."""

    code = "nothing_to_approve"


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training job left, and where it came from."""

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
    """Add a version to the model of this name, made when it is new. A job's second call answers the first version."""
    before = ModelVersion.objects.filter(job_id=trained.job_id).first()
    if before is not None:
        unchanged("the job's version was registered before")
        return before
    fresh = Model(name=trained.model)
    fresh.claim_tenant()
    Model.objects.bulk_create([fresh], ignore_conflicts=True)
    model = Model.objects.select_for_update(no_key=True).get(name=trained.model)
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


def promote(*, actor: Actor, version_id: UUID, stage: str) -> ModelVersion:
    """Move a version to another stage; to production at once by an approver, else by a request that approvers are told of.

    A version whose request waits has `requested_at` and no `approved_at`. Raises NotFound, Invalid, VersionServes.
    """
    actor.require("models.manage")
    if stage not in Stage.values:
        raise Invalid(fields={"stage": [f"Choose one of: {', '.join(Stage.values)}."]})
    if stage == Stage.PRODUCTION and not actor.can("models.approve"):
        return _request(actor=actor, version_id=version_id)
    return _promote(actor=actor, version_id=version_id, stage=stage)


@operation(MODEL_VERSION_PROMOTED)
def approve(*, actor: Actor, version_id: UUID) -> ModelVersion:
    """Grant the request that waits: the version is in production. Raises NotFound, NothingToApprove."""
    actor.require("models.approve")
    version = _locked(actor, version_id)
    if not waits(version):
        raise NothingToApprove(stage=version.stage)
    _to_production(actor, version)
    return version


@operation(PROMOTION_DECLINED)
def decline(*, actor: Actor, version_id: UUID, reason: str = "") -> ModelVersion:
    """Refuse the request that waits; the version stays where it is. Who asked is told, with the reason.

    Raises NotFound, Invalid, NothingToApprove.
    """
    actor.require("models.approve")
    reason = reason.strip()
    if len(reason) > MOST_REASON or holds_nul(reason):
        raise Invalid(fields={"reason": [f"Give a reason of at most {MOST_REASON} characters."]})
    version = _locked(actor, version_id)
    if not waits(version):
        raise NothingToApprove(stage=version.stage)
    record(
        PROMOTION_DECLINED,
        actor=actor,
        target=_target(version),
        changes={"requested_by": [version.requested_by_label, None]},
        reason=reason,
    )
    _answered(
        actor,
        version,
        kind="model.declined",
        title=f"{version} was declined for production",
        body=f"{actor.label} declined; it stays in {version.stage}. "
        + (f"Reason: {reason}" if reason else "No reason was given."),
    )
    _keep(version, **NO_APPROVAL)
    return version


def waits(version: ModelVersion) -> bool:
    """Return whether production was asked for and nobody has answered yet."""
    return version.requested_at is not None and version.approved_at is None


@operation(MODEL_VERSION_PROMOTED)
def _promote(*, actor: Actor, version_id: UUID, stage: str) -> ModelVersion:
    version = _locked(actor, version_id)
    if version.stage == stage:
        unchanged("it is in that stage")
        return version
    if stage == Stage.PRODUCTION:
        _to_production(actor, version)
        return version
    left = version.stage == Stage.PRODUCTION or stage == Stage.ARCHIVED
    if left and Endpoint.objects.filter(version=version).exclude(state=EndpointState.UNDEPLOYED).exists():
        raise VersionServes
    record(MODEL_VERSION_PROMOTED, actor=actor, target=_target(version), changes={"stage": [version.stage, stage]})
    if left and waits(version):
        _answered(
            actor,
            version,
            kind="model.declined",
            title=f"{version} was archived",
            body=f"{actor.label} archived it. Your request to take it into production ended with that.",
        )
    _keep(version, stage=stage, **(NO_APPROVAL if left else {}))
    return version


@operation(PROMOTION_REQUESTED)
def _request(*, actor: Actor, version_id: UUID) -> ModelVersion:
    version = _locked(actor, version_id)
    if version.stage == Stage.PRODUCTION or waits(version):
        unchanged("it is in production, or was asked for before")
        return version
    _keep(version, **NO_APPROVAL | {"requested_by_label": actor.label, "requested_at": now()})
    changes = {"requested_by": [None, actor.label], "wanted": [version.stage, str(Stage.PRODUCTION)]}
    record(PROMOTION_REQUESTED, actor=actor, target=_target(version), changes=changes)
    notifications.notify(
        permission="models.approve",
        kind=WAITS,
        title=f"{version} waits for approval",
        body=f"{actor.label} asks to take {version} into production.",
        path=_page(version),
    )
    return version


NO_APPROVAL: dict[str, Any] = {
    "requested_by_label": "", "requested_at": None, "approved_by": None, "approved_by_label": "", "approved_at": None,
}  # fmt: skip


def _to_production(actor: Actor, version: ModelVersion) -> None:
    """Put a locked version into production; who asked is who approves where nobody had asked."""
    asked = waits(version)
    asker = version.requested_by_label if asked else actor.label
    changes = {
        "stage": [version.stage, str(Stage.PRODUCTION)],
        "requested_by": [None, asker],
        "approved_by": [None, actor.label],
    }
    record(MODEL_VERSION_PROMOTED, actor=actor, target=_target(version), changes=changes)
    if asked:
        _answered(
            actor,
            version,
            kind="model.approved",
            title=f"{version} is in production",
            body=f"{actor.label} approved what you asked for. It can be deployed now.",
        )
    moment = now()
    _keep(
        version,
        stage=Stage.PRODUCTION,
        requested_by_label=asker,
        requested_at=version.requested_at if asked else moment,
        approved_by=actor.id,
        approved_by_label=actor.label,
        approved_at=moment,
    )


def _answered(actor: Actor, version: ModelVersion, *, kind: str, title: str, body: str) -> None:
    """Tell who asked what came of it, unless it was the answerer; the other approvers need not look any more."""
    notifications.settle(kind=WAITS, path=_page(version))
    asker = queries.who_last(PROMOTION_REQUESTED, "modelversion", version.id)
    if asker is not None and asker != actor.id:
        notifications.notify_person(asker, kind=kind, title=title, body=body, path=_page(version))


def _page(version: ModelVersion) -> str:
    return f"models/versions/{version.id}/"


def _locked(actor: Actor, version_id: UUID) -> ModelVersion:
    rows = visible_versions(actor).select_for_update(of=("self",), no_key=True).select_related("model")
    version = rows.filter(id=version_id).first()
    if version is None:
        raise NotFound
    return version


def _keep(version: ModelVersion, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(version, name, value)
    ModelVersion.objects.filter(id=version.id).update(**fields)


def _target(version: ModelVersion) -> tuple[str, UUID, str]:
    return ("modelversion", version.id, str(version))
