"""Requests for a higher ceiling, which the operators of the installation answer; until a date if wanted."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tenants import quotas
from tenants.access.actor import Actor
from tenants.approvals import approvals, kinds
from tenants.models import Approval
from tenants.parsing import parse_moment

KIND = "ceiling"
#: A ceiling's reason in both logs is shorter than that of a request.
LONGEST_REASON = 400


def request(*, actor: Actor, resource: str, limit: int, reason: str, until: datetime | None) -> Approval:
    """Ask the operators for a higher ceiling, in the resource's shown unit; the caller has found it to be lower."""
    found = quotas.resources()[resource]
    ceiling = quotas.ceiling_of(resource, found.period)
    wanted = {
        "resource": resource,
        "limit": limit,
        "until": None if until is None else until.isoformat(),
        "from": None if ceiling is None else found.shown(ceiling),
    }
    return approvals.request(actor=actor, kind=KIND, target=found.title[:120], wanted=wanted, reason=reason)


def _apply(actor: Actor, row: Approval) -> None:
    until = row.wanted["until"]
    quotas.raise_ceiling(
        actor=actor,
        resource=row.wanted["resource"],
        limit=row.wanted["limit"],
        until=None if until is None else parse_moment(until, "until"),
        reason=row.reason[:LONGEST_REASON],
    )


def _describe(wanted: Mapping[str, Any], target: str) -> str:
    return f"Raise the ceiling of {target} {kinds.raise_words(wanted)}."


kinds.register(
    kinds.ApprovalKind(
        name=KIND,
        title="Higher ceiling",
        permission="quotas.manage",
        apply=_apply,
        describe=_describe,
        side=kinds.OPERATORS,
    )
)
