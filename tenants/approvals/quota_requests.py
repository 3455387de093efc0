"""Requests for a higher quota, until a date if wanted: the raise then ends by itself."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from tenants import quotas
from tenants.access.actor import Actor, InProject
from tenants.approvals import approvals, ceiling_requests, kinds
from tenants.clock import now
from tenants.errors import Invalid
from tenants.models import Approval
from tenants.parsing import parse_moment
from tenants.quotas import Scope, scopes
from tenants.quotas.limits import raise_limit, raise_until

KIND = "quota"


def request(
    *,
    actor: Actor,
    resource: str,
    limit: int,
    reason: str,
    scope: Scope = quotas.ORGANISATION,
    until: datetime | None = None,
) -> Approval:
    """Ask for a higher limit, in the resource's shown unit; above the ceiling, the operators for a higher ceiling.

    Raises `Invalid`, PermissionDenied, and `AboveCeiling` for somebody who asks for a project alone.
    """
    actor.require("approvals.request", InProject(scope.project_id))
    if until is not None and until <= now():
        raise Invalid(fields={"until": ["Use a time in the future."]})
    try:
        found = quotas.check_limit(resource, limit, scope=scope)
    except quotas.AboveCeiling:
        if not actor.can("approvals.request"):
            raise
        return ceiling_requests.request(actor=actor, resource=resource, limit=limit, reason=reason, until=until)
    use = quotas.use_of(resource, scope)
    if use.limit is None:
        raise Invalid(fields={"resource": ["There is no such limit, so nothing has to be raised."]})
    if limit * found.unit <= use.limit:
        raise Invalid(fields={"limit": [f"The limit is {found.said(use.limit)}. Ask for more."]})
    wanted = {
        "resource": resource,
        "limit": limit,
        "scope": scope.text,
        "until": None if until is None else until.isoformat(),
        "from": found.shown(use.limit),
    }
    target = f"{found.title} of {scopes.names([scope])[scope]}"[:120]
    return approvals.request(
        actor=actor, kind=KIND, target=target, wanted=wanted, reason=reason, project_id=scope.project_id
    )


def _apply(actor: Actor, row: Approval) -> None:
    wanted = row.wanted
    scope = scopes.parse(wanted["scope"])
    common: dict[str, Any] = {"actor": actor, "resource": wanted["resource"], "limit": wanted["limit"], "scope": scope}
    if wanted["until"] is None:
        raise_limit(**common)
    else:
        raise_until(**common, until=parse_moment(wanted["until"], "until"), reason=row.reason)


def _describe(wanted: Mapping[str, Any], target: str) -> str:
    return f"Raise {target} {kinds.raise_words(wanted)}."


kinds.register(
    kinds.ApprovalKind(name=KIND, title="Higher quota", permission="quotas.manage", apply=_apply, describe=_describe)
)
