"""Budgets and their use this month."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from uuid import UUID

from django.db import connection

from billing.credit.queries import standing
from billing.forecast import at_month_end
from billing.models import Budget, BudgetAlert
from billing.models.budgets import NOTIFY
from billing.money import Money
from billing.queries.calendar import tenant_today
from billing.rating.tags import marks
from tenants.errors import NotFound
from tenants.isolation.scoping import current_tenant_id
from tenants.projects.sight import named, unnamed_ids
from tenants.rows import named_rows

WHOLE = "tenant"
STATUS = """
SELECT b.id, b.project_id, coalesce(p.name, '') AS project_name, coalesce(p.slug, '') AS project_slug, b.tag_key, b.tag_value,
  b.currency, b.alerts, b.at_limit, coalesce(c."limit", b.amount) AS "limit", coalesce(c.held, 0) AS held,
  coalesce(c.spent, 0) + coalesce(c.unheld, 0) AS spent
FROM billing_budget b
LEFT JOIN billing_budgetperiod c ON c.tenant_id = b.tenant_id AND c.budget_id = b.id AND c.period = %(period)s
LEFT JOIN tenants_project p ON p.tenant_id = b.tenant_id AND p.id = b.project_id
WHERE b.tenant_id = %(tenant)s AND b.closed_at IS NULL AND (%(project)s::uuid IS NULL OR b.project_id IS NULL OR b.project_id = %(project)s)
  AND (%(project)s::uuid IS NULL OR b.tag_key = '' OR b.tag_key || '=' || b.tag_value = ANY(%(tags)s::text[]))
ORDER BY b.project_id IS NOT NULL, b.tag_key <> '', b.tag_key, b.tag_value, p.name, b.id
"""


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """One budget in one local month. `project_id` is None for the whole organisation's and for a tag's.

    `forecast`: the month's cost at the current pace.
    """

    id: UUID
    project_id: UUID | None
    project_name: str
    project_slug: str
    tag: str
    currency: str
    alerts: tuple[int, ...]
    at_limit: str
    period: date
    limit: Money
    held: Money
    spent: Money
    forecast: Money

    @property
    def scope(self) -> str:
        """The budget's scope as the API names it: `tenant`, the id of a project, or `tag:name=value`."""
        return str(self.project_id) if self.project_id else f"tag:{self.tag}" if self.tag else WHOLE

    @property
    def of_project(self) -> str:
        """Name of the project; empty where the budget is of none."""
        return self.project_name if self.project_id else ""

    @property
    def length(self) -> str:
        """How long each of its periods lasts."""
        return "month"

    @property
    def promised(self) -> Money:
        """What is spent or held."""
        return self.spent + self.held

    @property
    def free(self) -> Money:
        """The limit minus what is spent and held; negative if that is more."""
        return self.limit - self.promised

    @property
    def left(self) -> Money:
        """What may still be held or spent; never negative."""
        return max(self.free, Money.zero(self.currency))

    @property
    def used_percent(self) -> int:
        """Whole percent of the limit that is spent, rounded down; 100 for a limit of zero."""
        return self._percent(self.spent.amount)

    @property
    def used_share(self) -> str:
        """The share of the limit that is spent, for a bar."""
        return str(min(Decimal(1), Decimal(self.used_percent) / 100))

    @property
    def bar_label(self) -> str:
        """Accessible label of the bar."""
        return f"Share spent of the budget of {self.project_name or 'the whole organisation'}"

    @property
    def promised_percent(self) -> int:
        """Whole percent of the limit that is spent or held, rounded down."""
        return self._percent(self.spent.amount + self.held.amount)

    @property
    def crossed(self) -> tuple[int, ...]:
        """The crossed alert thresholds."""
        return tuple(percent for percent in self.alerts if self.spent.amount * 100 >= self.limit.amount * percent)

    @property
    def state(self) -> str:
        """State: ok, alert (a threshold crossed) or exhausted (all spent, or no headroom in an enforced budget)."""
        if self.left.amount <= 0 and (self.at_limit != NOTIFY or self.spent >= self.limit):
            return "exhausted"
        return "alert" if self.crossed else "ok"

    def _percent(self, amount: Decimal) -> int:
        return int(amount * 100 // self.limit.amount) if self.limit.amount else 100


def budgets(
    project_id: UUID | None = None, period: date | None = None, tags: Mapping[str, str] | None = None
) -> list[BudgetStatus]:
    """Return the open budgets, the organisation's first, but those of projects whose sums the reader does not see.

    With `project_id`, only those that apply to its work with these tags.
    """
    at = tenant_today()
    period = period or at.period
    with connection.cursor() as cursor:
        cursor.execute(
            STATUS, {"tenant": current_tenant_id(), "period": period, "project": project_id, "tags": marks(tags or {})}
        )
        rows = named_rows(cursor)
    unnamed = unnamed_ids() if any(row.project_id for row in rows) else set()
    return [
        BudgetStatus(
            id=row.id,
            project_id=row.project_id,
            project_name=f"tag {row.tag_key}={row.tag_value}" if row.tag_key else row.project_name,
            project_slug=row.project_slug,
            tag=f"{row.tag_key}={row.tag_value}" if row.tag_key else "",
            currency=row.currency,
            alerts=tuple(row.alerts),
            at_limit=row.at_limit,
            period=period,
            limit=Money(row.limit, row.currency),
            held=Money(row.held, row.currency),
            spent=Money(row.spent, row.currency),
            forecast=at_month_end(Money(row.spent, row.currency), period, at.day),
        )
        for row in rows
        if row.project_id not in unnamed
    ]


def budget(budget_id: UUID) -> BudgetStatus:
    """Return one open budget in the running month. Raises NotFound."""
    for status in budgets():
        if status.id == budget_id:
            return status
    raise NotFound


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One crossed threshold. `project_name` is empty for the whole organisation's budget."""

    id: UUID
    budget_id: UUID
    project_name: str
    period: date
    percent: int
    spent: Money
    limit: Money
    raised_at: datetime


def alerts(*, budget_id: UUID | None = None, before: UUID | None = None, limit: int = 50) -> list[AlertRow]:
    """Return up to `limit` + 1 crossed thresholds, newest first, including those of closed budgets."""
    rows = BudgetAlert.objects.select_related("budget__project").filter(named("budget__project_id")).order_by("-id")
    if budget_id is not None:
        rows = rows.filter(budget_id=budget_id)
    if before is not None:
        rows = rows.filter(id__lt=before)
    return [
        AlertRow(
            id=row.pk,
            budget_id=row.budget_id,
            project_name=_named(row.budget),
            period=row.period,
            percent=row.percent,
            spent=Money(row.spent, row.budget.currency),
            limit=Money(row.limit, row.budget.currency),
            raised_at=row.raised_at,
        )
        for row in rows[: limit + 1]
    ]


def headroom(project_id: UUID, tags: Mapping[str, str] | None = None) -> Decimal | None:
    """Return the headroom of the tightest enforced budget of the work, and of a prepaid wallet; None without any."""
    status, wallet = tightest(project_id, tags), standing(tenant_today().currency)
    bounds = [status.left.amount] if status else []
    return min([*bounds, *([wallet.available] if wallet else [])], default=None)


def tightest(project_id: UUID, tags: Mapping[str, str] | None = None) -> BudgetStatus | None:
    """Return the tightest enforced budget of a project, of these tags or of the organisation; None without one."""
    enforced = [status for status in budgets(project_id, tags=tags) if status.at_limit != NOTIFY]
    return min(enforced, key=lambda status: status.free.amount, default=None)


def _named(budget: Budget) -> str:
    if budget.tag_key:
        return f"tag {budget.tag_key}={budget.tag_value}"
    return budget.project.name if budget.project else ""
