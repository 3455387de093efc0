"""Tenant metrics for operators: collected tenant by tenant, each in its own scope.

Upper apps register their metrics (`register`); this app adds members. Nothing here reads two tenants at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum

from tenants.clock import DatabaseNow
from tenants.isolation.scoping import tenant_scope
from tenants.isolation.sweeps import sweep
from tenants.models import Membership, Tenant, TenantDigest

#: Tenants per run: a run every half minute then refreshes some thousands without delaying email.
AT_ONCE = 500
OWN = frozenset({"tenant", "slug", "name", "created_at", "members", "refreshed_at"})
Source = Callable[[], Mapping[str, Any]]

_sources: dict[Source, frozenset[str]] = {}


@dataclass(frozen=True)
class DigestRow:
    """One tenant's metrics. `month_spend` is what its current month has cost so far, in the `currency` of its contract.

    `budget_limit` and `budget_spent` are of the whole tenant's budget of a `budget_period` (month, quarter, year), if there
    is one; `open_alerts` is how many thresholds its endpoints have crossed.
    """

    tenant_id: UUID
    slug: str
    name: str
    currency: str
    created_at: datetime
    members: int
    running_jobs: int
    queued_jobs: int
    month_spend: Decimal
    budget_limit: Decimal | None
    budget_spent: Decimal
    budget_period: str
    open_alerts: int
    refreshed_at: datetime
    standing: str

    @property
    def budget_percent(self) -> int | None:
        """Whole percent of the budget that is spent, rounded down; None without a budget."""
        if self.budget_limit is None:
            return None
        return int(self.budget_spent * 100 // self.budget_limit) if self.budget_limit else 100


FIGURES = [{"standing": "tenant__standing"}.get(name, name) for name in DigestRow.__dataclass_fields__]


@dataclass(frozen=True)
class TotalRow:
    """Totals of the tenants of one currency."""

    currency: str
    tenants: int
    running_jobs: int
    month_spend: Decimal


@dataclass(frozen=True)
class MonthRow:
    """What a currency's tenants have cost in this month so far, and by the same day of the month before; None: no figure yet."""

    currency: str
    cost: Decimal
    before: Decimal | None


def register(source: Source, *figures: str) -> None:
    """Add an app's figures, asked for in the open scope of one tenant. Raises KeyError for one that has no column."""
    columns = {field.name for field in TenantDigest._meta.fields} - OWN
    if unknown := set(figures) - columns:
        raise KeyError(f"no digest has {sorted(unknown)}")
    _sources[source] = frozenset(figures)


def refresh(limit: int = AT_ONCE) -> int:
    """Refresh the metrics of up to `limit` tenants, the stalest first (control role); return how many.

    A failure of one tenant stops no other, and is raised at the end (SweepFailed).
    """
    fresh = TenantDigest.objects.filter(tenant_id=OuterRef("id")).values("refreshed_at")
    stalest = Tenant.objects.annotate(last=Subquery(fresh)).order_by(F("last").asc(nulls_first=True), "id")
    refreshed = 0
    with sweep("metrics of tenants") as each:
        for tenant_id in each.over(stalest.values_list("id", flat=True), limit):
            with each(tenant=tenant_id):
                _refresh_one(tenant_id)
                refreshed += 1
    return refreshed


def digests(*, text: str = "", after: str = "", limit: int = 50) -> list[DigestRow]:
    """Return up to `limit` + 1 metrics by short name, those after `after`; empty for every role but the console's."""
    rows = _matching(text).filter(slug__gt=after).order_by("slug")
    return [DigestRow(*row) for row in rows.values_list(*FIGURES)[: limit + 1]]


def digest_of(tenant_id: UUID) -> DigestRow | None:
    """Return the metrics of one tenant, None until they are collected for the first time."""
    row = TenantDigest.objects.filter(tenant_id=tenant_id).values_list(*FIGURES).first()
    return None if row is None else DigestRow(*row)


def totals(text: str = "") -> list[TotalRow]:
    """Return the totals over all these tenants, a row for each currency."""
    rows = _matching(text).order_by("currency").values_list("currency")
    sums = rows.annotate(number=Count("tenant_id"), running=Sum("running_jobs"), spend=Sum("month_spend"))
    return [TotalRow(*row) for row in sums]


def months() -> list[MonthRow]:
    """Return this month and the one before it, a row for each currency of either: two statements."""
    now = dict(TenantDigest.objects.order_by("currency").values_list("currency").annotate(spend=Sum("month_spend")))
    known = TenantDigest.objects.exclude(spend_before=None).order_by("currency_before")
    before = dict(known.values_list("currency_before").annotate(spend=Sum("spend_before")))
    return [
        MonthRow(currency, now.get(currency, Decimal(0)), before.get(currency, Decimal(0) if before else None))
        for currency in sorted({*now, *before})
    ]


def _matching(text: str) -> QuerySet[TenantDigest]:
    rows = TenantDigest.objects.all()
    return rows.filter(Q(name__icontains=text) | Q(slug__icontains=text)) if text else rows


def _refresh_one(tenant_id: UUID) -> None:
    with tenant_scope(tenant_id):
        tenant = Tenant.objects.get(id=tenant_id)
        figures: dict[str, Any] = {"members": Membership.objects.count()}
        for source, names in _sources.items():
            found = source()
            figures |= {name: found[name] for name in names}
    row = {
        "slug": tenant.slug,
        "name": tenant.name,
        "currency": tenant.currency,
        "created_at": tenant.created_at,
        "refreshed_at": DatabaseNow(),
        **figures,
    }
    fresh = TenantDigest(tenant_id=tenant_id, **row)
    TenantDigest.objects.bulk_create([fresh], update_conflicts=True, unique_fields=["tenant"], update_fields=list(row))
