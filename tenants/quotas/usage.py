"""What every scope may use of each resource, and uses now."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import connection

from tenants.isolation.scoping import current_tenant_id
from tenants.models import AT_ONCE
from tenants.projects.sight import unnamed_ids
from tenants.quotas.resources import Amount, counted
from tenants.quotas.scopes import ORGANISATION, Scope

#: The running local month of a tenant, and a limit with its raise: SQL of several statements.
THIS_MONTH = """(SELECT date_trunc('month', exchequer_now() AT TIME ZONE t.timezone)::date
    FROM tenants_tenant t WHERE t.id = %(tenant)s)"""
RAISED = """CASE WHEN q."limit" IS NOT NULL AND q.raised_until > exchequer_now()
    THEN greatest(q."limit", q.raised_to) ELSE q."limit" END"""
#: The operators' ceiling with its raise.
CEILING = """CASE WHEN c.raised_until > exchequer_now() THEN greatest(c."limit", c.raised_to) ELSE c."limit" END"""

_ROWS = f"""
SELECT q.resource, q.period, q.project_id, q.person, q."limit",
       CASE WHEN q.period = 'month' AND q.month IS DISTINCT FROM {THIS_MONTH} THEN 0 ELSE q.in_use END,
       {CEILING}, q.guaranteed, q.weight, {RAISED},
       CASE WHEN q.raised_until > exchequer_now() THEN q.raised_until END
FROM tenants_quota q
LEFT JOIN tenants_quotaceiling c ON c.tenant_id = q.tenant_id AND c.resource = q.resource AND c.period = q.period
WHERE q.tenant_id = %(tenant)s AND ({{which}})
UNION ALL
SELECT c.resource, c.period, NULL, NULL, NULL, 0, {CEILING}, 0, 1, NULL, NULL FROM tenants_quotaceiling c
WHERE c.tenant_id = %(tenant)s AND c."limit" IS NOT NULL AND NOT EXISTS (
    SELECT FROM tenants_quota q WHERE q.tenant_id = c.tenant_id AND q.resource = c.resource AND q.period = c.period
    AND q.project_id IS NULL AND q.person IS NULL)
ORDER BY 1, 2, 3 NULLS FIRST, 4 NULLS FIRST
"""  # noqa: S608
_ALL, _WHOLE = "true", "q.project_id IS NULL AND q.person IS NULL"
_OF = """(q.project_id IS NULL OR q.project_id = %(project)s) AND (q.person IS NULL OR q.person = %(person)s)"""


@dataclass(frozen=True)
class QuotaUse:
    """One scope's limit of a resource (None = no limit) and what is in use of it now, in counted units.

    `limit` is the one set; `raised` is the same with its raise until `raised_until`. `ceiling` is the operators' for the
    whole tenant.
    """

    resource: str
    limit: int | None
    in_use: Amount
    scope: Scope = ORGANISATION
    period: str = AT_ONCE
    ceiling: int | None = None
    guaranteed: int = 0
    weight: int = 1
    raised: int | None = None
    raised_until: datetime | None = None

    @property
    def effective(self) -> int | None:
        """The limit that binds: the raised one, at most the ceiling; None without any."""
        own = self.limit if self.raised is None else self.raised
        if self.ceiling is None or (own is None and self.scope != ORGANISATION):
            return own
        return self.ceiling if own is None else min(own, self.ceiling)

    @property
    def clamped(self) -> bool:
        """Whether the ceiling is below the limit that was set."""
        own = self.limit if self.raised is None else self.raised
        return own is not None and self.ceiling is not None and self.ceiling < own

    @property
    def left(self) -> Amount | None:
        """What can still be used; None without a limit."""
        return None if self.effective is None else max(self.effective - self.in_use, 0)

    @property
    def over(self) -> Amount:
        """How much is in use beyond a lowered limit."""
        return 0 if self.effective is None else max(0, self.in_use - self.effective)


def everywhere() -> list[QuotaUse]:
    """Return every scope's limits and use in the open scope of a tenant, by resource; the organisation's first."""
    return _read(_ALL)


def usage() -> Sequence[QuotaUse]:
    """Return every resource with a limit, a ceiling or a use in the whole organisation, by name."""
    return _read(_WHOLE)


def usage_of(*, project_id: UUID | None, person: UUID | None) -> list[QuotaUse]:
    """Return the limits and use that concern a project and a person: theirs, and those of the whole organisation."""
    return _read(_OF, project=project_id, person=person)


def _read(which: str, **values: UUID | None) -> list[QuotaUse]:
    with connection.cursor() as cursor:
        cursor.execute(_ROWS.format(which=which), {"tenant": current_tenant_id(), **values})
        rows = [_use(*row) for row in cursor.fetchall()]
    unnamed = unnamed_ids() if any(row.scope.project_id for row in rows) else set()
    return [row for row in rows if row.scope.project_id not in unnamed]


def _use(resource: str, period: str, project_id: UUID | None, person: UUID | None, *rest: Any) -> QuotaUse:
    limit, in_use, ceiling, guaranteed, weight, raised, until = rest
    scope = Scope(project_id, person)
    return QuotaUse(resource, limit, counted(in_use), scope, period, ceiling, guaranteed, weight, raised, until)
