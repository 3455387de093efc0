"""Requests for production among all approvals: kept with their version, listed and answered with the others."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.models import Q

from models_app.access import visible_versions
from models_app.models import Stage
from models_app.registry import registry
from tenants.access.actor import Actor, InProject
from tenants.approvals import elsewhere
from tenants.approvals.queries import ApprovalRow, barred, own_request
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
    found = visible_versions(actor, shared=False).filter(wanted, requested_at__isnull=False)
    if not actor.can(APPROVE):
        here = [one for one in actor.in_projects if actor.can(APPROVE, InProject(one))]
        found = found.filter(own_request(actor, "requested_by") | Q(project_id__in=here))
    if only is not None:
        found = found.filter(id=only)
    if before is not None:
        found = found.filter(id__lt=before)
    newest = found.annotate(barred=barred(actor, "requested_by")).order_by("-id")
    return [_row(one, actor) for one in newest[: limit + 1]]


def answer(actor: Actor, granted: bool, version_id: UUID, reason: str) -> None:
    """Approve or decline one, as the page of the version does."""
    if granted:
        registry.approve(actor=actor, version_id=version_id)
    else:
        registry.decline(actor=actor, version_id=version_id, reason=reason)


def _row(version: Any, actor: Actor) -> ApprovalRow:
    """Return a version that somebody asked production for, for a reader who may be `barred` from answering."""
    waits = registry.waits(version)
    may = waits and actor.can("approvals.answer", version) and actor.can(APPROVE, version)
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
        created_at=version.requested_at,
        expires_at=None,
        answered_by_label=version.approved_by_label,
        answered_at=version.approved_at,
        answer_reason="",
        may_answer=may and version.requested_by is not None and not version.barred,
        page=f"models/versions/{version.id}/",
    )
