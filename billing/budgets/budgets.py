"""Budgets: how much a project, a tag, a person or the whole tenant may spend in a local month, quarter or year."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from uuid import UUID

from django.db.models import F, Q, Value
from django.db.models.expressions import Combinable
from django.db.models.functions import Greatest

from billing.budgets import counters, opening
from billing.budgets.restating import restate
from billing.models import Budget, BudgetPeriod
from billing.models.budgets import AT_LIMIT, NOTIFY
from billing.models.fields import exact
from billing.money import Money, computed
from billing.queries.calendar import Today, tenant_today
from billing.rating.calendar import MONTHS, span_start
from billing.rating.tags import tag_fault
from tenants import clock
from tenants.access.actor import Actor, InProject
from tenants.audit import AuditAction, operation, record
from tenants.errors import Conflict, Invalid, NotFound
from tenants.models import Membership, Project
from tenants.projects.sight import named

BUDGET_CREATED = AuditAction("billing.budget.created")
BUDGET_CHANGED = AuditAction("billing.budget.changed")
BUDGET_CLOSED = AuditAction("billing.budget.closed")
LARGEST = Decimal(10) ** 15


class BudgetExists(Conflict):
    """This scope already has a budget of this length; change that one."""

    code = "budget_exists"


class NothingToRaise(Conflict):
    """The budget is that high already. Decline the request."""

    code = "budget_is_higher"


@dataclass(frozen=True, slots=True)
class BudgetKind:
    """What a budget is for besides a project, at most one of a tag and a person, and how long its periods last."""

    tag: tuple[str, str] | None = None
    person: UUID | None = None
    length: str = "month"


MONTHLY = BudgetKind()


@operation(BUDGET_CREATED)
def create_budget(
    *,
    actor: Actor,
    amount: Decimal,
    at_limit: str,
    project_id: UUID | None = None,
    kind: BudgetKind = MONTHLY,
    alerts: Sequence[int] = (),
) -> Budget:
    """Limit what a scope spends in each local month, quarter or year, starting with the current one.

    Includes what was spent and held earlier in it. Raises Invalid, NotFound for a foreign project, BudgetExists.
    """
    actor.require("budgets.manage", InProject(project_id))
    _check(amount, at_limit, alerts)
    _check_kind(kind, project_id)
    key, value = kind.tag or ("", "")
    if project_id is not None and not Project.objects.filter(named(actor=actor, path="pk"), pk=project_id).exists():
        raise NotFound
    counters.lock_budget_set(exclusive=True)
    at = tenant_today()
    _check_ahead(kind, at)
    if Budget.objects.filter(
        Q(project_id=project_id) if project_id else Q(project__isnull=True),
        tag_key=key,
        tag_value=value,
        person=kind.person,
        period=kind.length,
        closed_at__isnull=True,
    ).exists():
        raise BudgetExists
    budget = Budget.objects.create(
        project_id=project_id,
        tag_key=key,
        tag_value=value,
        person=kind.person,
        period=kind.length,
        amount=amount,
        currency=at.currency,
        at_limit=at_limit,
        alerts=sorted(set(alerts)),
    )
    period = span_start(at.day, kind.length)
    opening.start(budget, period)
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
    raising: bool = False,
) -> Budget:
    """Change a budget from the running period on. Below what is spent and held, it blocks new holds until that shrinks.

    What is omitted stays, a raise of the running period too. `raising`: it is to be raised, so a higher raise stays, and
    NothingToRaise is raised for an amount that is no more.
    """
    actor.require_somewhere("budgets.manage")
    counters.lock_budget_set(exclusive=True)
    budget = open_budget(actor, budget_id)
    actor.require("budgets.manage", budget)
    before = _terms(budget)
    if raising and (amount is None or amount <= budget.amount):
        raise NothingToRaise
    budget.amount = budget.amount if amount is None else amount
    budget.at_limit = at_limit or budget.at_limit
    budget.alerts = budget.alerts if alerts is None else sorted(set(alerts))
    _check(budget.amount, budget.at_limit, budget.alerts)
    budget.save()
    wanted = Value(budget.amount, output_field=exact())
    limit = F("limit") if amount is None else Greatest(F("limit"), wanted) if raising else wanted
    period = _limit(budget, limit, budget.at_limit)
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
    _limit(budget, F("limit"), NOTIFY)
    Budget.objects.filter(pk=budget_id).update(closed_at=clock.DatabaseNow())
    record(BUDGET_CLOSED, actor=actor, target=budget, changes={"closed": [False, True]})


def open_budget(actor: Actor, budget_id: UUID) -> Budget:
    """Return an open budget, locked and in today's currency, whose project the actor may name. Raises NotFound."""
    rows = Budget.objects.select_for_update(no_key=True, of=("self",)).filter(named(actor=actor), closed_at=None)
    budget = rows.filter(pk=budget_id).first()
    if budget is None:
        raise NotFound
    if restate(budget, tenant_today()):
        budget.save(update_fields=["amount", "currency"])
    return budget


def _limit(budget: Budget, limit: Combinable, at_limit: str) -> date:
    """Set the limit of the counters from the running period on; return that period."""
    current = span_start(tenant_today().day, budget.period)
    months = BudgetPeriod.objects.filter(budget=budget, currency=budget.currency).filter(
        Q(period__gte=current) | Q(held__gt=0)
    )
    promised = Greatest(limit, F("held") + F("spent"), output_field=exact())
    months.update(limit=limit, at_limit=at_limit, ceiling=None if at_limit == NOTIFY else promised)
    return current


def _publish_passed(budget: Budget, period: date) -> None:
    """Report thresholds that the period has already crossed, unless they were reported before."""
    counter_id = BudgetPeriod.objects.filter(budget=budget, period=period).values_list("id", flat=True).first()
    for counter in counters.lock_these([counter_id]) if counter_id else []:
        counters.publish_passed(counter, budget.currency)


def _terms(budget: Budget) -> dict[str, object]:
    return {
        "project": str(budget.project_id) if budget.project_id else None,
        **({"tag": f"{budget.tag_key}={budget.tag_value}"} if budget.tag_key else {}),
        **({"person": str(budget.person)} if budget.person else {}),
        **({"period": budget.period} if budget.period != MONTHLY.length else {}),
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


def _check_ahead(kind: BudgetKind, at: Today) -> None:
    """Refuse a budget whose running or a later period would have two currencies."""
    for change in at.currencies.changes:
        if change.on > at.day and span_start(change.on, kind.length) != change.on:
            fault = f"The organisation pays in {change.after} from {change.on:%-d %B %Y}. Choose months, or wait until then."
            raise Invalid(fields={"period": [fault]})


def _check_kind(kind: BudgetKind, project_id: UUID | None) -> None:
    fault = tag_fault(dict([kind.tag])) if kind.tag else None
    if sum(one is not None for one in (project_id, kind.tag, kind.person)) > 1:
        fault = "A budget is for a project, a tag or a person, not for several of them."
    elif kind.person and not Membership.objects.filter(user_id=kind.person).exists():
        fault = "Choose a member."
    if fault:
        raise Invalid(fields={"scope": [fault]})
    if kind.length not in MONTHS:
        raise Invalid(fields={"period": [f"Choose one of {', '.join(MONTHS)}."]})
