"""Stages of model versions and the operations that move them. `registration` adds versions.

Only `production` may be deployed, so it takes two people: one requests it, and the version stays where it is until
another person, an approver, grants it. Keys count as the person who created them (`creators.person_of`).
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q

from models_app.access import version_audience, visible_versions
from models_app.events import PromotionAnswered, PromotionRequested
from models_app.models import Endpoint, EndpointState, ModelVersion, Stage
from tenants import queries
from tenants.access.actor import Actor
from tenants.audit import AuditAction, operation, record, unchanged
from tenants.audit import queries as audit_queries
from tenants.clock import now
from tenants.errors import Conflict, Invalid, NotFound, PermissionDenied
from tenants.events.events import publish
from tenants.identity import creators
from tenants.isolation.scoping import tenant_scope
from tenants.notifications import notifications
from tenants.parsing import holds_nul
from tenants.sharing.shares import SharedOnly

MODEL_VERSION_PROMOTED = AuditAction("models_app.model_version.promoted")
PROMOTION_REQUESTED = AuditAction("models_app.model_version.requested")
PROMOTION_DECLINED = AuditAction("models_app.model_version.declined")
MOST_REASON = 500
WAITS = "model.approval"


class VersionServes(Conflict):
    """This version answers at an endpoint. Undeploy it, or deploy another version there, first."""

    code = "version_serves"


class NothingToApprove(Conflict):
    """This version has no open request for production."""

    code = "nothing_to_approve"


class SelfApproval(PermissionDenied):
    """Another member must approve requests by you or by a key that you created."""

    code = "self_approval"


def promote(*, actor: Actor, version_id: UUID, stage: str) -> ModelVersion:
    """Move a version to another stage.

    Production takes a request, of which approvers are notified, or the grant of another's request. A version with a
    pending request has `requested_at` and no `approved_at`. Raises NotFound, Invalid, VersionServes.
    """
    actor.require_somewhere("models.manage")
    if stage not in Stage.values:
        raise Invalid(fields={"stage": [f"Choose one of: {', '.join(Stage.values)}."]})
    if stage == Stage.PRODUCTION and not grants(actor, version_id):
        return _request(actor=actor, version_id=version_id)
    return _promote(actor=actor, version_id=version_id, stage=stage)


def manages(actor: Actor, version_id: UUID) -> bool:
    """Return whether an actor sees a version without a share of its model."""
    return visible_versions(actor, shared=False).filter(id=version_id).exists()


def grants(actor: Actor, version_id: UUID) -> bool:
    """Return whether this actor can move a version into production now, as the second person or the only one."""
    if not actor.can_somewhere("models.approve"):
        return False
    with tenant_scope(actor.tenant_id):
        version = visible_versions(actor, shared=False).filter(id=version_id).first()
        if version is None or not actor.can("models.approve", version):
            return False
        return queries.approves_alone() or (waits(version) and not _own_request(actor, version))


@operation(MODEL_VERSION_PROMOTED)
def approve(*, actor: Actor, version_id: UUID) -> ModelVersion:
    """Grant a pending request: the version is in production. Raises NotFound, NothingToApprove, SelfApproval."""
    version = _locked(actor, version_id, "models.approve")
    if not waits(version):
        raise NothingToApprove(stage=version.stage)
    _require_second_person(actor, version)
    _to_production(actor, version)
    return version


@operation(PROMOTION_DECLINED)
def decline(*, actor: Actor, version_id: UUID, reason: str = "") -> ModelVersion:
    """Refuse a pending request; the version stays where it is. The requester is notified, with the reason.

    Raises NotFound, Invalid, NothingToApprove.
    """
    reason = reason.strip()
    if len(reason) > MOST_REASON or holds_nul(reason):
        raise Invalid(fields={"reason": [f"Enter a reason of at most {MOST_REASON} characters."]})
    version = _locked(actor, version_id, "models.approve")
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
        body=f"{actor.said} declined; it stays in {version.stage}. "
        + (f"Reason: {reason}" if reason else "No reason was given."),
    )
    _keep(version, **NO_APPROVAL)
    return version


def waits(version: ModelVersion) -> bool:
    """Return whether production was requested and is not decided yet."""
    return version.requested_at is not None and version.approved_at is None


@operation(MODEL_VERSION_PROMOTED)
def _promote(*, actor: Actor, version_id: UUID, stage: str) -> ModelVersion:
    version = _locked(actor, version_id, "models.manage")
    if version.stage == stage:
        unchanged("it is in that stage")
        return version
    if stage == Stage.PRODUCTION:
        _require_second_person(actor, version)
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
            body=f"{actor.said} archived it. This closed your request to promote it to production.",
        )
    _keep(version, stage=stage, **(NO_APPROVAL if left else {}))
    return version


@operation(PROMOTION_REQUESTED)
def _request(*, actor: Actor, version_id: UUID) -> ModelVersion:
    version = _locked(actor, version_id, "models.manage")
    if version.stage == Stage.PRODUCTION or waits(version):
        unchanged("it is in production, or was asked for before")
        return version
    asked = {"requested_by": creators.one_person(actor), "requested_by_label": actor.said, "requested_at": now()}
    _keep(version, **NO_APPROVAL | asked)
    changes = {"requested_by": [None, actor.label], "wanted": [version.stage, str(Stage.PRODUCTION)]}
    record(PROMOTION_REQUESTED, actor=actor, target=_target(version), changes=changes)
    publish(PromotionRequested(tenant_id=actor.tenant_id, version_id=version.id))
    notifications.notify(
        permission="models.approve",
        kind=WAITS,
        title=f"{version} waits for approval",
        body=f"{actor.said} asks to promote {version} to production.",
        path=_page(version),
        only=version_audience(version) & ~Q(user_id=version.requested_by),
    )
    return version


NO_APPROVAL: dict[str, Any] = {
    "requested_by": None, "requested_by_label": "", "requested_at": None, "approved_by": None, "approved_by_label": "", "approved_at": None,
}  # fmt: skip


def _own_request(actor: Actor, version: ModelVersion) -> bool:
    """Return whether the actor made the request; also if the requester is unknown."""
    asker = version.requested_by or audit_queries.who_last(PROMOTION_REQUESTED, "modelversion", version.id)
    return asker is None or asker == creators.one_person(actor)


def _require_second_person(actor: Actor, version: ModelVersion) -> None:
    if not queries.approves_alone() and (not waits(version) or _own_request(actor, version)):
        raise SelfApproval


def _to_production(actor: Actor, version: ModelVersion) -> None:
    """Move a locked version into production; without a request the approver counts as the requester."""
    asked = waits(version)
    asker = version.requested_by_label if asked else actor.said
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
            body=f"{actor.said} approved your request. It can now be deployed.",
        )
    moment = now()
    _keep(
        version,
        stage=Stage.PRODUCTION,
        requested_by=version.requested_by if asked else creators.person_of(actor),
        requested_by_label=asker,
        requested_at=version.requested_at if asked else moment,
        approved_by=actor.id,
        approved_by_label=actor.said,
        approved_at=moment,
    )


def _answered(actor: Actor, version: ModelVersion, *, kind: str, title: str, body: str) -> None:
    """Notify the requester of the decision, unless they made it; clear the notifications of the other approvers."""
    publish(PromotionAnswered(tenant_id=actor.tenant_id, version_id=version.id, outcome=kind.rpartition(".")[2]))
    notifications.settle(kind=WAITS, path=_page(version))
    asker = audit_queries.who_last(PROMOTION_REQUESTED, "modelversion", version.id)
    if asker is not None and asker != actor.id:
        notifications.notify_person(asker, kind=kind, title=title, body=body, path=_page(version))


def _page(version: ModelVersion) -> str:
    return f"models/versions/{version.id}/"


def _locked(actor: Actor, version_id: UUID, permission: str) -> ModelVersion:
    actor.require_somewhere(permission)
    rows = visible_versions(actor).select_for_update(of=("self",), no_key=True).select_related("model")
    version = rows.filter(id=version_id).first()
    if version is None:
        raise NotFound
    actor.require(permission, version)
    if not manages(actor, version_id):
        raise SharedOnly
    return version


def _keep(version: ModelVersion, **fields: Any) -> None:
    for name, value in fields.items():
        setattr(version, name, value)
    ModelVersion.objects.filter(id=version.id).update(**fields)


def _target(version: ModelVersion) -> tuple[str, UUID, str]:
    return ("modelversion", version.id, str(version))
