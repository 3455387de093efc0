"""Budgets: how much a project, or the whole tenant, may spend in a local month."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.db.models import F, Q, Sum, Value
from django.db.models.functions import Greatest

from billing.budgets import counters
from billing.ledger import ledger
from billing.ledger.ledger import AVAILABLE, HELD, SPENT, UNHELD, LedgerAccount, LedgerEntry
from billing.models import Budget, BudgetPeriod, Hold, HoldShare, UsageRollup, UsageSeries
from billing.models.budgets import AT_LIMIT, NOTIFY
from billing.models.fields import exact
from billing.models.holds import OPEN
from billing.money import Money, computed
from billing.rating.calendar import local_day, next_period, period_of
from billing.rating.tags import as_dims, marks, tag_fault, tags_in
from billing.usage.intervals import Series
from billing.usage.rollups import Segment
from tenants import clock
from tenants.access.actor import Actor, InProject
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.isolation.scoping import current_tenant_id
from tenants.models import Project, Tenant
from tenants.projects.sight import named

BUDGET_CREATED = AuditAction("billing.budget.created")
BUDGET_CHANGED = AuditAction("billing.budget.changed")
BUDGET_CLOSED = AuditAction("billing.budget.closed")
NOTHING = Decimal(0)
LARGEST = Decimal(10) ** 15


class BudgetExists(Conflict):
    """This scope already has a budget; change that one."""

    code = "budget_exists"


@operation(BUDGET_CREATED)
def create_budget(
    *,
    actor: Actor,
    amount: Decimal,
    at_limit: str,
    project_id: UUID | None = None,
    tag: tuple[str, str] | None = None,
    alerts: Sequence[int] = (),
) -> Budget:
    """Limit what a project, work with a tag, or else the tenant spends in a local month, starting with the current one.

    Includes what was spent and held earlier this month. Raises Invalid, NotFound for a foreign project, BudgetExists.
    """
    actor.require("budgets.manage", InProject(project_id))
    _check(amount, at_limit, alerts)
    if tag is not None and (project_id is not None or (fault := tag_fault(dict([tag])))):
        raise Invalid(
            fields={"scope": ["A budget is for a project or for a tag, not both." if project_id else str(fault)]}
        )
    key, value = tag or ("", "")
    if project_id is not None and not Project.objects.filter(named(actor=actor, path="pk"), pk=project_id).exists():
        raise NotFound
    counters.lock_budget_set(exclusive=True)
    zone, currency = Tenant.objects.values_list("timezone", "currency").get(pk=actor.tenant_id)
    if Budget.objects.filter(
        Q(project_id=project_id) if project_id else Q(project__isnull=True),
        tag_key=key,
        tag_value=value,
        currency=currency,
        closed_at__isnull=True,
    ).exists():
        raise BudgetExists
    budget = Budget.objects.create(
        project_id=project_id,
        tag_key=key,
        tag_value=value,
        amount=amount,
        currency=currency,
        at_limit=at_limit,
        alerts=sorted(set(alerts)),
    )
    period = period_of(local_day(clock.now(), zone))
    _open(budget, period)
    _publish_passed(budget, period)
    record(
        BUDGET_CREATED,
        actor=actor,
        target=budget,
        changes={name: [None, value] for name, value in _terms(budget).items()},
    )
    return budget


@operation(BUDGET_CHANGED)
def change_budget(
    *,
    actor: Actor,
    budget_id: UUID,
    amount: Decimal | None = None,
    at_limit: str | None = None,
    alerts: Sequence[int] | None = None,
) -> Budget:
    """Change a budget from the current month on. Below what is spent and held, it blocks new holds until that shrinks."""
    actor.require_somewhere("budgets.manage")
    counters.lock_budget_set(exclusive=True)
    budget = open_budget(actor, budget_id)
    actor.require("budgets.manage", budget)
    before = _terms(budget)
    budget.amount = budget.amount if amount is None else amount
    budget.at_limit = at_limit or budget.at_limit
    budget.alerts = budget.alerts if alerts is None else sorted(set(alerts))
    _check(budget.amount, budget.at_limit, budget.alerts)
    budget.save()
    period = _limit(budget, budget.amount, budget.at_limit)
    _publish_passed(budget, period)
    after = _terms(budget)
    changes = {name: [before[name], after[name]] for name in after if before[name] != after[name]}
    record(BUDGET_CHANGED, actor=actor, target=budget, changes=changes)
    return budget


@operation(BUDGET_CLOSED)
def close_budget(*, actor: Actor, budget_id: UUID) -> None:
    """Stop limiting; the counters stay as history."""
    actor.require_somewhere("budgets.manage")
    counters.lock_budget_set(exclusive=True)
    budget = open_budget(actor, budget_id)
    actor.require("budgets.manage", budget)
    _limit(budget, budget.amount, NOTIFY)
    Budget.objects.filter(pk=budget_id).update(closed_at=clock.DatabaseNow())
    record(BUDGET_CLOSED, actor=actor, target=budget, changes={"closed": [False, True]})


def open_budget(actor: Actor, budget_id: UUID) -> Budget:
    """Return an open budget, locked, whose project the actor may name. Raises NotFound."""
    rows = Budget.objects.select_for_update(no_key=True, of=("self",)).filter(named(actor=actor), closed_at=None)
    budget = rows.filter(pk=budget_id).first()
    if budget is None:
        raise NotFound
    return budget


def count_unreserved(segments: Sequence[Segment], series: Mapping[bytes, Series], currency: str) -> None:
    """Count unreserved usage against its budgets: it can no longer be refused, but reduces the headroom.

    One ledger transaction for each attempt or reporting request, month, project and set of budgets.
    """
    charged = [segment for segment in segments if segment.amount]
    if not charged:
        return
    tags = {key: tags_in(series[key].carried) for key in {segment.series for segment in charged}}
    locked = counters.lock_scope(
        {segment.project_id for segment in charged},
        {segment.month for segment in charged},
        currency,
        {mark for found in tags.values() for mark in marks(found)},
    )
    charges: dict[tuple[date, UUID | None, UUID | None, tuple[LedgerAccount, ...]], Decimal] = {}
    growth: dict[UUID, Decimal] = {}
    for segment in charged:
        concerned = [
            c for c in locked if c.period == segment.month and c.concerns(segment.project_id, tags[segment.series])
        ]
        growth |= {counter.id: growth.get(counter.id, NOTHING) + segment.amount for counter in concerned}
        accounts = (LedgerAccount("project", segment.project_id), *(counter.ledger_account for counter in concerned))
        mark = (segment.month, series[segment.series].attempt_id, segment.batch_id, accounts)
        charges[mark] = charges.get(mark, NOTHING) + segment.amount
    entries = []
    for (period, attempt_id, batch_id, accounts), amount in charges.items():
        legs = ledger.move(AVAILABLE, UNHELD, accounts, amount, currency)
        entries.append(LedgerEntry("unheld", period, legs, attempt_id=attempt_id, batch_id=batch_id))
    # Each counter moves once by the batch's total, so that it sees every threshold crossed.
    for counter in locked:
        counters.apply_delta([counter], currency, unheld=growth.get(counter.id, NOTHING))
    ledger.post(*entries)


def _open(budget: Budget, period: date) -> None:
    """Start the counter of a new budget with its scope's spent and held amounts of the month."""
    scope: dict[str, Any] = {} if budget.project_id is None else {"project_id": budget.project_id}
    used = UsageRollup.objects.filter(day__gte=period, day__lt=next_period(period), **scope)
    if budget.tag_key:
        scope = {"tags__contains": {budget.tag_key: budget.tag_value}}
        tagged = UsageSeries.objects.filter(dims__contains=as_dims({budget.tag_key: budget.tag_value}))
        used = used.filter(series_hash__in=tagged.values("hash"))
    spent = used.aggregate(total=Sum("amount"))["total"] or NOTHING
    # Usage and releases are locked out meanwhile: no hold of the tenant moves before this transaction ends.
    holds = list(Hold.objects.filter(state=OPEN, period=period, currency=budget.currency, **scope))
    held = sum((hold.amount - hold.settled for hold in holds), NOTHING)
    counter = BudgetPeriod.objects.create(
        budget=budget,
        period=period,
        limit=budget.amount,
        at_limit=budget.at_limit,
        ceiling=None if budget.at_limit == NOTIFY else max(budget.amount, held + spent),
        held=held,
        spent=spent,
    )
    HoldShare.objects.bulk_create([HoldShare(hold=hold, counter=counter) for hold in holds])
    accounts = [LedgerAccount("counter", counter.pk)]
    opening = ledger.move(AVAILABLE, SPENT, accounts, spent, budget.currency) + ledger.move(
        AVAILABLE, HELD, accounts, held, budget.currency
    )
    ledger.post(LedgerEntry("open", period, opening))


def _limit(budget: Budget, amount: Decimal, at_limit: str) -> date:
    """Set the limit of the counters from the running month on; return that month."""
    zone = Tenant.objects.values_list("timezone", flat=True).get(pk=current_tenant_id())
    current = period_of(local_day(clock.now(), zone))
    months = BudgetPeriod.objects.filter(budget=budget).filter(Q(period__gte=current) | Q(held__gt=0))
    if at_limit == NOTIFY:
        months.update(limit=amount, at_limit=at_limit, ceiling=None)
    else:
        promised = Greatest(Value(amount, output_field=exact()), F("held") + F("spent"), output_field=exact())
        months.update(limit=amount, at_limit=at_limit, ceiling=promised)
    return current


def _publish_passed(budget: Budget, period: date) -> None:
    """Report thresholds that the month has already crossed, unless they were reported before."""
    counter_id = BudgetPeriod.objects.filter(budget=budget, period=period).values_list("id", flat=True).first()
    for counter in counters.lock_these([counter_id]) if counter_id else []:
        counters.publish_passed(counter, budget.currency)


def _terms(budget: Budget) -> dict[str, object]:
    return {
        "project": str(budget.project_id) if budget.project_id else None,
        **({"tag": f"{budget.tag_key}={budget.tag_value}"} if budget.tag_key else {}),
        "amount": Money(budget.amount, budget.currency).json(),
        "at_limit": budget.at_limit,
        "alerts": list(budget.alerts),
    }


def _check(amount: Decimal, at_limit: str, alerts: Sequence[int]) -> None:
    faults = {}
    if not amount.is_finite() or not 0 <= amount < LARGEST or computed(amount) != amount:
        faults["amount"] = ["A budget is a number from 0 to 10^15 with at most 12 decimals."]
    if at_limit not in AT_LIMIT:
        faults["at_limit"] = [f"Choose one of {', '.join(AT_LIMIT)}."]
    if any(not 1 <= percent <= 100 for percent in alerts):
        faults["alerts"] = ["Alerts are whole percentages from 1 to 100."]
    if faults:
        raise Invalid(fields=faults)
