"""Budgets and their use in the running period."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import OuterRef, Subquery

from billing.credit.queries import standing
from billing.forecast import at_end
from billing.models import Budget, BudgetAlert, BudgetPeriod
from billing.models.budgets import NOTIFY
from billing.money import Money
from billing.queries.calendar import tenant_currencies, tenant_today
from billing.rating.calendar import LAST_DAY, span_end, span_name
from billing.rating.tags import marks
from tenants.errors import NotFound
from tenants.isolation.scoping import current_tenant_id
from tenants.models import User
from tenants.projects.sight import named, unnamed_ids
from tenants.rows import named_rows

WHOLE = "tenant"
_STATUS = f"""
SELECT b.id, b.project_id, coalesce(p.name, '') AS project_name, coalesce(p.slug, '') AS project_slug, b.tag_key, b.tag_value,
  b.person, {{address}} AS address, b.period AS length, m.period, n.currency, b.alerts, b.at_limit,
  coalesce(c."limit", billing_restated(b.tenant_id, b.amount, b.currency, n.currency), 0) AS "limit",
  coalesce(c.held, 0) AS held, coalesce(c.spent, 0) + coalesce(c.unheld, 0) AS spent, t.day
FROM billing_budget b
CROSS JOIN (SELECT (exchequer_now() AT TIME ZONE timezone)::date AS day FROM tenants_tenant WHERE id = %(tenant)s) t
CROSS JOIN LATERAL (SELECT date_trunc(b.period, coalesce(%(month)s::date, t.day)::timestamp)::date AS period) m
LEFT JOIN billing_budgetperiod c ON c.tenant_id = b.tenant_id AND c.budget_id = b.id AND c.period = m.period
CROSS JOIN LATERAL (SELECT coalesce(c.currency, billing_currency(b.tenant_id, {LAST_DAY})) AS currency) n
LEFT JOIN tenants_project p ON p.tenant_id = b.tenant_id AND p.id = b.project_id
{{people}}
WHERE b.tenant_id = %(tenant)s AND b.closed_at IS NULL AND (%(project)s::uuid IS NULL OR (
  (b.project_id IS NULL OR b.project_id = %(project)s)
  AND (b.tag_key = '' OR b.tag_key || '=' || b.tag_value = ANY(%(tags)s::text[])) AND (b.person IS NULL OR b.person = %(person)s)))
ORDER BY b.project_id IS NOT NULL, b.tag_key <> '', b.person IS NOT NULL, b.tag_key, b.tag_value, p.name, address, b.period, b.id
"""  # noqa: S608 (constants)
STATUS = _STATUS.format(address="coalesce(u.email, '')", people="LEFT JOIN tenants_user u ON u.id = b.person")
#: For who reads no address of people: a serving node.
NAMELESS = _STATUS.format(address="''", people="")


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """One budget in one of its periods, `period` being its first day and `length` month, quarter or year.

    `project_id` is None for the whole organisation's, for a tag's and for a person's. `project_name` names the scope; it
    is empty for the whole organisation. `forecast`: the period's cost at the current pace.
    """

    id: UUID
    project_id: UUID | None
    project_name: str
    project_slug: str
    tag: str
    person: UUID | None
    length: str
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
        """The budget's scope as the API names it: `tenant`, the id of a project or person, or `tag:name=value`."""
        if self.tag:
            return f"tag:{self.tag}"
        return str(self.project_id or self.person or WHOLE)

    @property
    def of_project(self) -> str:
        """Name of the project; empty where the budget is of none."""
        return self.project_name if self.project_id else ""

    @property
    def span(self) -> str:
        """Name of its period: `June 2026`, `Q2 2026` or `2026`."""
        return span_name(self.period, self.length)

    @property
    def label(self) -> str:
        """Name in a label, which distinguishes the budgets of one scope."""
        name = self.project_name or "the whole organisation"
        return name if self.length == "month" else f"{name}, {self.span}"

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
    project_id: UUID | None = None,
    period: date | None = None,
    tags: Mapping[str, str] | None = None,
    person: UUID | None = None,
    *,
    addresses: bool = True,
) -> list[BudgetStatus]:
    """Return the open budgets, the organisation's first, but those of projects whose sums the reader does not see.

    With `project_id`, only those that apply to its work with these tags by this person. `period`: the month in which they
    are shown, or whose quarter and year; default: the running one. Without `addresses` those of people are not read.
    """
    arguments: dict[str, Any] = {
        "tenant": current_tenant_id(),
        "month": period,
        "project": project_id,
        "person": person,
    }
    with connection.cursor() as cursor:
        cursor.execute(STATUS if addresses else NAMELESS, arguments | {"tags": marks(tags or {})})
        rows = named_rows(cursor)
    unnamed = unnamed_ids() if any(row.project_id for row in rows) else set()
    return [
        BudgetStatus(
            id=row.id,
            project_id=row.project_id,
            project_name=scope_name(row.project_name, (row.tag_key, row.tag_value), row.person, row.address),
            project_slug=row.project_slug,
            tag=f"{row.tag_key}={row.tag_value}" if row.tag_key else "",
            person=row.person,
            length=row.length,
            currency=row.currency,
            alerts=tuple(row.alerts),
            at_limit=row.at_limit,
            period=row.period,
            limit=Money(row.limit, row.currency),
            held=Money(row.held, row.currency),
            spent=Money(row.spent, row.currency),
            forecast=at_end(Money(row.spent, row.currency), row.period, row.length, row.day),
        )
        for row in rows
        if row.project_id not in unnamed
    ]


def scope_name(project: str, tag: tuple[str, str], person: UUID | None, address: str) -> str:
    """Return a name for what a budget is of; empty for the whole organisation."""
    if tag[0]:
        return f"tag {tag[0]}={tag[1]}"
    return (address or "a former member") if person else project


def budget(budget_id: UUID) -> BudgetStatus:
    """Return one open budget in its running period. Raises NotFound."""
    for status in budgets():
        if status.id == budget_id:
            return status
    raise NotFound


def must_be_open(budget_id: UUID) -> None:
    """Raise NotFound unless `budget` finds it."""
    if not Budget.objects.filter(named(), id=budget_id, closed_at=None).exists():
        raise NotFound


@dataclass(frozen=True, slots=True)
class AlertRow:
    """One crossed threshold. `project_name` names the scope; it is empty for the whole organisation's budget."""

    id: UUID
    budget_id: UUID
    project_name: str
    period: date
    length: str
    percent: int
    spent: Money
    limit: Money
    raised_at: datetime

    @property
    def span(self) -> str:
        """Name of the period: `June 2026`, `Q2 2026` or `2026`."""
        return span_name(self.period, self.length)


def alerts(*, budget_id: UUID | None = None, before: UUID | None = None, limit: int = 50) -> list[AlertRow]:
    """Return up to `limit` + 1 crossed thresholds, newest first, including those of closed budgets."""
    counted = BudgetPeriod.objects.filter(budget=OuterRef("budget"), period=OuterRef("period")).values("currency")
    rows = BudgetAlert.objects.select_related("budget__project").filter(named("budget__project_id")).order_by("-id")
    rows = rows.annotate(paid_in=Subquery(counted))
    if budget_id is not None:
        rows = rows.filter(budget_id=budget_id)
    if before is not None:
        rows = rows.filter(id__lt=before)
    found = list(rows[: limit + 1])
    people = [row.budget.person for row in found if row.budget.person]
    addresses = dict(User.objects.filter(id__in=people).values_list("id", "email")) if people else {}
    return [
        AlertRow(
            id=row.pk,
            budget_id=row.budget_id,
            project_name=named_scope(row.budget, addresses),
            period=row.period,
            length=row.budget.period,
            percent=row.percent,
            spent=Money(row.spent, currency),
            limit=Money(row.limit, currency),
            raised_at=row.raised_at,
        )
        for row in found
        for currency in [row.paid_in or row.budget.currency]
    ]


def currency_of_span(period: date, length: str) -> str:
    """Return the currency of a budget's period, which is that of its last day."""
    return tenant_currencies().of(span_end(period, length) - timedelta(days=1))


def headroom(project_id: UUID, tags: Mapping[str, str] | None = None, person: UUID | None = None) -> Decimal | None:
    """Return the headroom of the tightest enforced budget of the work, and of a prepaid wallet; None without any."""
    status = tightest(project_id, tags, person, addresses=False)
    wallet = standing(tenant_today().currency)
    bounds = [status.left.amount] if status else []
    return min([*bounds, *([wallet.available] if wallet else [])], default=None)


def tightest(
    project_id: UUID, tags: Mapping[str, str] | None = None, person: UUID | None = None, *, addresses: bool = True
) -> BudgetStatus | None:
    """Return the tightest enforced budget that applies to a person's work in a project with these tags; None without one."""
    enforced = [
        status
        for status in budgets(project_id, tags=tags, person=person, addresses=addresses)
        if status.at_limit != NOTIFY
    ]
    return min(enforced, key=lambda status: status.free.amount, default=None)


def named_scope(budget: Budget, addresses: Mapping[UUID, str]) -> str:
    """Return a name for what a budget is of; empty for the whole organisation. `addresses`: of people, by id."""
    project = budget.project.name if budget.project else ""
    address = addresses.get(budget.person, "") if budget.person else ""
    return scope_name(project, (budget.tag_key, budget.tag_value), budget.person, address)
