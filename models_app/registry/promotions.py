"""Requests for production among all approvals: kept with their version, listed and answered with the others."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q

from models_app.access import visible_versions
from models_app.models import ModelVersion, Stage
from models_app.registry import registry
from tenants import queries
from tenants.access.actor import Actor, InProject
from tenants.approvals import elsewhere
from tenants.approvals.queries import ApprovalRow
from tenants.identity import creators
from tenants.models import ApprovalState

KIND, APPROVE = "promotion", "models.approve"


def register() -> None:
    """Register them."""
    elsewhere.register(elsewhere.Kept(rows, answer))


def rows(actor: Actor, state: str, only: UUID | None, before: UUID | None, limit: int) -> list[ApprovalRow]:
    """Return one's own requests and those that one may answer, with the ids of their versions, newest version first."""
    waiting, granted = Q(approved_at=None), Q(approved_at__isnull=False)
    wanted = {"": Q(), ApprovalState.OPEN: waiting, ApprovalState.APPROVED: granted}.get(state)
    if wanted is None:
        return []
    person = creators.person_of(actor)
    found = visible_versions(actor, shared=False).filter(wanted, requested_at__isnull=False)
    if not actor.can(APPROVE):
        here = [one for one in actor.in_projects if actor.can(APPROVE, InProject(one))]
        own = Q(requested_by=person) if person is not None else Q(pk__in=())
        found = found.filter(own | Q(project_id__in=here))
    if only is not None:
        found = found.filter(id=only)
    if before is not None:
        found = found.filter(id__lt=before)
    others = None if queries.approves_alone() else person
    return [_row(one, actor, others) for one in found.order_by("-id")[: limit + 1]]


def answer(actor: Actor, granted: bool, version_id: UUID, reason: str) -> None:
    """Approve or decline one, as the page of the version does."""
    if granted:
        registry.approve(actor=actor, version_id=version_id)
    else:
        registry.decline(actor=actor, version_id=version_id, reason=reason)


def _row(version: ModelVersion, actor: Actor, person: UUID | None) -> ApprovalRow:
    """Return a row for a reader; `person` may not answer their own, None may answer all."""
    waits = registry.waits(version)
    may = waits and actor.can("approvals.answer", version) and actor.can(APPROVE, version)
    asked_at = version.requested_at
    if asked_at is None:
        raise ValueError("only versions that somebody asked for are listed")
    return ApprovalRow(
        id=version.id,
        kind=KIND,
        title="Promotion to production",
        sentence=f"{version} in production.",
        project_id=version.project_id,
        requester_label=version.requested_by_label,
        target=str(version),
        wanted={"version": str(version.id), "stage": str(Stage.PRODUCTION)},
        reason="",
        state=str(ApprovalState.OPEN if waits else ApprovalState.APPROVED),
        created_at=asked_at,
        expires_at=None,
        answered_by_label=version.approved_by_label,
        answered_at=version.approved_at,
        answer_reason="",
        may_answer=may and version.requested_by is not None and version.requested_by != person,
        page=f"models/versions/{version.id}/",
    )
