"""Reserve and release. What is in use is counted in three scopes at once: the organisation, a project, a person.

Every statement takes the organisation's row of a resource first, so that two that meet in a project or a person have met
there already: concurrent reservations never exceed a limit together, and never deadlock.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from django.db import connection, transaction

from tenants.errors import ExchequerError
from tenants.isolation.scoping import current_tenant_id
from tenants.models import MONTH, QuotaReservation
from tenants.quotas.resources import Amount, Resource, counted, find
from tenants.quotas.rooms import where
from tenants.quotas.scopes import Scope
from tenants.quotas.usage import CEILING, RAISED, THIS_MONTH


class QuotaExceeded(ExchequerError):
    """A quota is used up. Release resources, or ask an admin to raise it."""

    code = "quota_exceeded"
    status = 409


@dataclass(frozen=True)
class Scopes:
    """For which project and person something counts, besides the organisation."""

    project_id: UUID | None = None
    person: UUID | None = None


_COUNT = f"""
WITH mine AS (
    INSERT INTO tenants_quotareservation (id, tenant_id, resource, period, month, subject, project_id, person, amount)
    VALUES (gen_random_uuid(), %(tenant)s, %(resource)s, %(period)s, %(month)s, %(subject)s, %(project)s, %(person)s, %(amount)s)
    ON CONFLICT (tenant_id, subject, resource) DO NOTHING RETURNING 1
), counted AS (
    INSERT INTO tenants_quota AS q (id, tenant_id, resource, period, project_id, person, in_use, month)
    SELECT gen_random_uuid(), %(tenant)s, %(resource)s, %(period)s, project, person, %(amount)s, %(month)s
    FROM (VALUES (1, NULL::uuid, NULL::uuid), (2, %(project)s::uuid, NULL), (3, NULL, %(person)s::uuid))
        AS scopes (place, project, person)
    WHERE EXISTS (SELECT FROM mine) AND (place = 1 OR project IS NOT NULL OR person IS NOT NULL) ORDER BY place
    ON CONFLICT (tenant_id, resource, period, project_id, person) DO UPDATE SET month = EXCLUDED.month,
        in_use = EXCLUDED.in_use + CASE WHEN q.month IS NOT DISTINCT FROM EXCLUDED.month THEN q.in_use ELSE 0 END
    RETURNING project_id, person, in_use, {RAISED} AS own)
SELECT counted.project_id, counted.person, in_use, own,
    CASE WHEN counted.project_id IS NULL AND counted.person IS NULL OR own IS NOT NULL THEN {CEILING} END
FROM counted LEFT JOIN tenants_quotaceiling c
    ON c.tenant_id = %(tenant)s AND c.resource = %(resource)s AND c.period = %(period)s
"""  # noqa: S608

_LOCK = """
SELECT 1 FROM tenants_quota WHERE tenant_id = %(tenant)s AND project_id IS NULL AND person IS NULL AND resource IN (
    SELECT resource FROM tenants_quotareservation WHERE tenant_id = %(tenant)s AND subject = %(subject)s {only})
ORDER BY resource FOR NO KEY UPDATE
"""
_RELEASE = """
WITH gone AS (
    DELETE FROM tenants_quotareservation WHERE tenant_id = %(tenant)s AND subject = %(subject)s {only}
    RETURNING resource, period, month, project_id, person,
        least(amount, coalesce((%(unused)s::jsonb ->> resource)::numeric, amount)) AS amount)
UPDATE tenants_quota q SET in_use = greatest(0, q.in_use - gone.amount) FROM gone
WHERE q.tenant_id = %(tenant)s AND q.resource = gone.resource AND q.period = gone.period
  AND q.month IS NOT DISTINCT FROM gone.month
  AND (q.project_id IS NULL OR q.project_id = gone.project_id) AND (q.person IS NULL OR q.person = gone.person)
"""
_ONLY = "AND resource = %(resource)s"


def reserve(
    *,
    resource: str,
    subject: str,
    amount: Amount = 1,
    of: Scopes | None = None,
    period: str = "",
    savepoint: bool = True,
) -> None:
    """Reserve `amount` counted units, or a part of one, for `subject` in the open scope; a subject reserves a resource once.

    `period`: of the resource, looked up if not given. Raises `QuotaExceeded`, which says whose limit it is, and changes nothing
    if a limit would be exceeded; without `savepoint` it ends the caller's transaction, too.
    """
    if amount <= 0:
        raise ValueError("reserve more than nothing")
    of, period = of or Scopes(), period or find(resource).period
    values: dict[str, Any] = {
        "tenant": current_tenant_id(), "resource": resource, "period": period, "amount": amount, "subject": subject,
        "project": of.project_id, "person": of.person,
    }  # fmt: skip
    with transaction.atomic(savepoint=savepoint), connection.cursor() as cursor:
        cursor.execute(_COUNT, {**values, "month": _this_month() if period == MONTH else None})
        for project_id, person, in_use, own, ceiling in cursor.fetchall():
            limits = [one for one in (own, ceiling) if one is not None]
            if limits and in_use > min(limits):
                by_operators = ceiling is not None and ceiling == min(limits) and ceiling != own
                before = counted(in_use - amount)
                raise _exceeded(find(resource), Scope(project_id, person), min(limits), before, amount, by_operators)


def release(*, subject: str, resource: str = "", unused: Mapping[str, int] | None = None) -> None:
    """Release what `subject` reserved, all of it or of one resource; idempotent.

    `unused` names how much of a resource was not used and is given back; the rest stays counted in its month.
    """
    only = _ONLY if resource else ""
    values: dict[str, Any] = {
        "tenant": current_tenant_id(), "subject": subject, "resource": resource,
        "unused": _json(unused or {}),
    }  # fmt: skip
    with connection.cursor() as cursor:
        cursor.execute(_LOCK.format(only=only), values)
        cursor.execute(_RELEASE.format(only=only), values)


def reserved(subjects: Sequence[str], resource: str) -> dict[str, Amount]:
    """Return how much of a resource each of these subjects reserves."""
    rows = QuotaReservation.objects.filter(subject__in=subjects, resource=resource)
    return {subject: counted(amount) for subject, amount in rows.values_list("subject", "amount")}


def _exceeded(
    found: Resource, scope: Scope, limit: int, in_use: Amount, asked: Amount, by_operators: bool
) -> QuotaExceeded:
    left = max(0, limit - in_use)
    who = "the operators of this installation" if by_operators else "an owner or admin"
    what = "ceiling" if by_operators else "quota"
    return QuotaExceeded(
        f"{found.title}: {found.shown(in_use)} of {found.said(limit)} in use {where(scope)}, {found.said(asked)} more requested, "
        f"{found.said(left)} left. {found.relief}, or ask {who} to raise the {what}.",
        resource=found.name,
        scope=scope.text,
        period=found.period,
        limit=found.shown(limit),
        in_use=found.shown(in_use),
        left=found.shown(left),
        asked=found.shown(asked),
        raised_by="operators" if by_operators else "quotas.manage",
    )


def _this_month() -> date:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {THIS_MONTH}", {"tenant": current_tenant_id()})
        found: date = cursor.fetchone()[0]
        return found


def _json(amounts: Mapping[str, int]) -> str:
    return json.dumps(dict(amounts))
