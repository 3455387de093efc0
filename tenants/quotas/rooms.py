"""How much more each scope may take at once: for the controller, over all tenants, and for the reason why a job waits."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from tenants.quotas import scopes
from tenants.quotas.resources import Amount, counted, find
from tenants.quotas.scopes import Scope
from tenants.quotas.usage import CEILING, RAISED, QuotaUse, usage_of

_ROOMS = f"""
SELECT q.tenant_id, q.resource, q.project_id, q.person, {RAISED}, {CEILING}, q.in_use,
       CASE WHEN q.project_id IS NULL AND q.person IS NULL THEN coalesce(c.guaranteed, 0) ELSE q.guaranteed END,
       CASE WHEN q.project_id IS NULL AND q.person IS NULL THEN coalesce(c.weight, 1) ELSE q.weight END
FROM tenants_quota q
LEFT JOIN tenants_quotaceiling c ON c.tenant_id = q.tenant_id AND c.resource = q.resource AND c.period = q.period
WHERE q.tenant_id = ANY(%(tenants)s) AND q.resource = ANY(%(resources)s) AND q.period = 'at_once'
  AND (q.person IS NULL OR q."limit" IS NOT NULL)
UNION ALL
SELECT c.tenant_id, c.resource, NULL, NULL, NULL, {CEILING}, 0, c.guaranteed, c.weight FROM tenants_quotaceiling c
WHERE c.resource = ANY(%(resources)s) AND c.period = 'at_once' AND CASE
    WHEN c.tenant_id <> ALL(%(tenants)s) THEN c.guaranteed > 0
    ELSE NOT EXISTS (
        SELECT FROM tenants_quota q WHERE q.tenant_id = c.tenant_id AND q.resource = c.resource AND q.period = c.period
        AND q.project_id IS NULL AND q.person IS NULL) END
"""  # noqa: S608


@dataclass(frozen=True)
class Room:
    """One scope's use of a resource now, its limit (None = no limit), its guaranteed part and its weight."""

    in_use: Amount
    limit: int | None
    guaranteed: int = 0
    weight: int = 1


Rooms = Mapping[tuple[UUID, str, Scope], Room]


def rooms(tenants: Collection[UUID], resources: Collection[str]) -> Rooms:
    """Return the room of every scope of these tenants, by tenant, resource and scope; for the control role.

    And of each other tenant that has a guaranteed part, that part.
    """
    with connection.cursor() as cursor:
        cursor.execute(_ROOMS, {"tenants": list(tenants), "resources": list(resources)})
        found = {}
        for tenant_id, resource, project_id, person, own, ceiling, in_use, guaranteed, weight in cursor.fetchall():
            scope = Scope(project_id, person)
            use = QuotaUse(resource, own, counted(in_use), scope, ceiling=ceiling)
            found[tenant_id, resource, scope] = Room(use.in_use, use.effective, guaranteed, weight)
        return found


@dataclass(frozen=True)
class Full:
    """A limit that has no room: whose it is, in words, and what would help."""

    use: QuotaUse
    reason: str


def full(resource: str, *, project_id: UUID | None, person: UUID | None, needed: Amount = 1) -> Full | None:
    """Return the first limit without room for so much more that binds a project's and a person's use of a resource; else None."""
    uses = binding((resource,), project_id=project_id, person=person)
    return next((Full(use, _reason(use, needed)) for use in uses if use.left is not None and use.left < needed), None)


def binding(resources: Collection[str], *, project_id: UUID | None, person: UUID | None) -> list[QuotaUse]:
    """Return the limits that bind a project's and a person's use of these resources."""
    uses = usage_of(project_id=project_id, person=person)
    return [use for use in uses if use.resource in resources and use.effective is not None]


def where(scope: Scope) -> str:
    """Return whose use a limit counts, in words: `in project Vision`, `by ann@example.org`."""
    whose = scopes.names([scope])[scope]
    return f"by {whose}" if scope.person else f"in {whose}"


def _reason(use: QuotaUse, needed: Amount) -> str:
    found = find(use.resource)
    limit = use.effective or 0
    by_operators = use.ceiling is not None and use.ceiling == limit and use.ceiling != use.limit
    who = "the operators of this installation to raise the ceiling" if by_operators else "an owner or admin to raise it"
    until = "when one is released" if needed == 1 else f"when {found.shown(needed)} of them are left"
    return f"Quota: {found.shown(use.in_use)} of {found.shown(limit)} {found.title} in use {where(use.scope)}. It starts {until}, or ask {who}."
