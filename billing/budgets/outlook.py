"""Where a budget's spending leads: forecast with its band, runway, the jobs that cost most, and days that stand out with theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection

from billing.forecast import HISTORY, Anomaly, anomalies, forecast, learn
from billing.money import Money
from billing.queries.budgets import BudgetStatus
from billing.queries.calendar import Today, tenant_today
from billing.rating.calendar import span_end
from billing.resource_names import JOB, job_names, withheld
from tenants.isolation.scoping import current_tenant_id
from tenants.projects.sight import unnamed_ids

SHOWN = 14
"""The days whose anomalies are shown."""
EXPLAINING = 3
#: An excess below this share of the budget is not worth a look.
LEAST_SHARE = Decimal("0.01")
SCOPE = """
FROM billing_usagerollup r JOIN billing_usageseries s ON s.tenant_id = r.tenant_id AND s.hash = r.series_hash
WHERE r.tenant_id = %(tenant)s AND r.day >= %(first)s AND r.day < %(end)s
  AND (%(project)s::uuid IS NULL OR r.project_id = %(project)s) AND (%(tag)s = '' OR s.dims ->> ('tag:' || %(tag)s) = %(value)s)
"""
DAYS = f"SELECT r.day, sum(r.amount) {SCOPE} GROUP BY 1"
JOBS = f"""
SELECT s.job_id, sum(r.amount) {SCOPE} AND s.job_id IS NOT NULL AND s.job_id <> ALL(%(hidden)s::uuid[])
  AND r.project_id <> ALL(%(unnamed)s::uuid[])
GROUP BY 1 HAVING sum(r.amount) > 0 ORDER BY 2 DESC, 1 LIMIT {EXPLAINING}
"""


@dataclass(frozen=True, slots=True)
class JobCost:
    """What one job cost in some days."""

    id: UUID
    name: str
    cost: Money


@dataclass(frozen=True, slots=True)
class UnusualDay:
    """A day that cost far more than its weekday does, with the costliest jobs that the reader sees."""

    day: date
    cost: Money
    expected: Money
    jobs: Sequence[JobCost]


@dataclass(frozen=True, slots=True)
class Outlook:
    """The forecast to the period's end with its band of eight in ten; the day when the limit is reached before, if any."""

    expected: Money
    low: Money
    high: Money
    runway_on: date | None
    unusual: Sequence[UnusualDay]


def outlook(status: BudgetStatus) -> Outlook | None:
    """Return where a budget's running period leads; None with less than two weeks of usage, or for a person's budget.

    Usage has no person, so a person's budget is forecast by its pace alone.
    """
    at = tenant_today()
    costs = _costs(status, at)
    known = learn(costs, at.day)
    if status.person or known is None:
        return None
    until = span_end(status.period, status.length)
    today = (at.day, costs.get(at.day, Decimal(0)))
    found = forecast(status.spent.amount, known, until, today, status.limit.amount)
    days = [at.day - timedelta(days=number) for number in range(SHOWN)]
    return Outlook(
        expected=Money(found.expected, status.currency),
        low=Money(found.low, status.currency),
        high=Money(found.high, status.currency),
        runway_on=found.runway_on,
        unusual=[_explained(status, one) for one in anomalies(costs, days, _least(status))],
    )


def costliest(status: BudgetStatus) -> Sequence[JobCost]:
    """Return the jobs that cost most in a budget's running period, of those that the reader sees; none for a person's budget."""
    return [] if status.person else _jobs(status, status.period, span_end(status.period, status.length))


def unusual_yesterday(status: BudgetStatus) -> UnusualDay | None:
    """Return the last whole local day if it cost far more than its weekday does."""
    at = tenant_today()
    yesterday = at.day - timedelta(days=1)
    found = [] if status.person else anomalies(_costs(status, at), [yesterday], _least(status))
    return _explained(status, found[0]) if found else None


def _least(status: BudgetStatus) -> Decimal:
    return status.limit.amount * LEAST_SHARE


def _costs(status: BudgetStatus, at: Today) -> dict[date, Decimal]:
    """Return the cost of each day with usage, far enough back for the first day shown."""
    if status.person:
        return {}
    # Days in another currency teach nothing about this one.
    first = max(at.day - HISTORY - timedelta(days=SHOWN), at.currencies.since(at.day))
    with connection.cursor() as cursor:
        cursor.execute(DAYS, _arguments(status, first, at.day + timedelta(days=1)))
        return dict(cursor.fetchall())


def _explained(status: BudgetStatus, one: Anomaly) -> UnusualDay:
    jobs = _jobs(status, one.day, one.day + timedelta(days=1))
    return UnusualDay(one.day, Money(one.cost, status.currency), Money(one.expected, status.currency), jobs)


def _jobs(status: BudgetStatus, first: date, end: date) -> Sequence[JobCost]:
    with connection.cursor() as cursor:
        hidden = {"hidden": withheld(JOB), "unnamed": sorted(unnamed_ids())}
        cursor.execute(JOBS, _arguments(status, first, end) | hidden)
        rows = cursor.fetchall()
    names = job_names(job_id for job_id, _ in rows)
    return [JobCost(job_id, names.get(job_id, ""), Money(amount, status.currency)) for job_id, amount in rows]


def _arguments(status: BudgetStatus, first: date, end: date) -> dict[str, Any]:
    tag, _, value = status.tag.partition("=")
    scope = {"project": status.project_id, "tag": tag, "value": value}
    return {"tenant": current_tenant_id(), "first": first, "end": end, **scope}
