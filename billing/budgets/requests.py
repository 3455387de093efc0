"""Requests for a higher budget, for the running month only if wanted."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any
from uuid import UUID

from billing import queries
from billing.budgets import budgets, raises
from billing.models import Budget
from billing.money import Money
from billing.queries.calendar import tenant_today
from tenants.access.actor import Actor, InProject
from tenants.approvals import approvals, kinds
from tenants.currencies import exact_text
from tenants.errors import Conflict, Invalid, NotFound
from tenants.models import Approval
from tenants.projects.sight import named

KIND = "budget"


def request(*, actor: Actor, budget_id: UUID, amount: Decimal, reason: str, this_month: bool = False) -> Approval:
    """Ask for a higher amount of a budget. Raises NotFound, Invalid, PermissionDenied."""
    actor.require_somewhere("approvals.request")
    budget = Budget.objects.filter(named(actor=actor), id=budget_id, closed_at__isnull=True).first()
    if budget is None:
        raise NotFound
    actor.require("approvals.request", InProject(budget.project_id))
    at = tenant_today()
    stated = at.currencies.restated(budget.amount, budget.currency, at.currency)
    now = queries.budget(budget_id).limit if this_month else Money(stated, at.currency)
    if not amount.is_finite() or not now.amount < amount < budgets.LARGEST:
        limit = exact_text(now.amount, now.currency)
        raise Invalid(fields={"amount": [f"The budget is {limit}. Ask for more."]})
    wanted = {
        "budget": str(budget.id),
        "amount": Money(amount, now.currency).json(),
        "from": now.json(),
        "this_month": this_month,
    }
    return approvals.request(
        actor=actor, kind=KIND, target=str(budget)[:120], wanted=wanted, reason=reason, project_id=budget.project_id
    )


def _apply(actor: Actor, row: Approval) -> None:
    budget_id, amount = UUID(row.wanted["budget"]), Decimal(row.wanted["amount"]["amount"])
    if (currency := row.wanted["amount"]["currency"]) != tenant_today().currency:
        raise Conflict(
            f"This asks for an amount in {currency}, which the organisation no longer pays in. Decline it, and ask again."
        )
    if row.wanted["this_month"]:
        raises.raise_this_month(actor=actor, budget_id=budget_id, amount=amount)
    else:
        budgets.change_budget(actor=actor, budget_id=budget_id, amount=amount, raising=True)


def _describe(wanted: Mapping[str, Any], target: str) -> str:
    before, after = (exact_text(Decimal(one["amount"]), one["currency"]) for one in (wanted["from"], wanted["amount"]))
    return f"Raise the {target} from {before} to {after}{' for this month' if wanted['this_month'] else ''}."


kinds.register(
    kinds.ApprovalKind(name=KIND, title="Higher budget", permission="budgets.manage", apply=_apply, describe=_describe)
)
