"""Budgets: use in the running period, reported thresholds, and setting, changing and closing one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from billing import queries
from billing.budgets import budgets
from billing.budgets.outlook import costliest, outlook
from billing.forms.budgets import BudgetTerms, NewBudget
from billing.models.budgets import BLOCK_NEW, NOTIFY, STOP_RUNNING
from billing.models.holds import OPEN
from billing.reported.holds import queries as holds
from tenants.errors import ExchequerError, Invalid
from tenants.models import Membership
from tenants.queries import projects_for
from tenants.web.pagination import before, csv_response, paged, wants_csv
from tenants.web.requests import TenantRequest
from tenants.web.views import page

ALERTS = 25
OUTSIDE = 50
SHORT = {NOTIFY: "Alert only", BLOCK_NEW: "Refuse", STOP_RUNNING: "Refuse and pause"}
FOLLOWS = {
    NOTIFY: "This budget only alerts; it stops nothing.",
    BLOCK_NEW: "New work is refused until the period ends, held money is released or the budget is raised. Running work continues.",
    STOP_RUNNING: "New work is refused and running work is paused within seconds, until the period ends or the budget is raised.",
}
EXPORTED = (
    "scope", "period", "starts_on", "amount", "spent", "held", "left", "currency", "used_percent", "forecast", "alerts_at",
    "at_limit", "state",
)  # fmt: skip


@require_safe
@page("budgets.view")
def budget_list(request: TenantRequest) -> HttpResponse:
    """Show every budget in its running period and the crossed thresholds; `?export=csv` for a file."""
    known = queries.budgets()
    if wants_csv(request):
        return csv_response(request, "budgets", EXPORTED, (_exported(status) for status in known))
    passed = queries.alerts(before=before(request, UUID), limit=ALERTS)
    alerts, links = paged(request, passed, ALERTS, lambda row: (row.id,))
    outside = holds.holds(state=OPEN, limit=OUTSIDE)
    context = {
        "budgets": known,
        "outside": outside[:OUTSIDE],
        "more_outside": len(outside) > OUTSIDE,
        "at_limit": SHORT,
        "alerts": alerts,
        "can_manage": request.actor.can_somewhere("budgets.manage"),
        "manageable": {status.id for status in known if request.actor.can("budgets.manage", status)},
        "askable": {status.id for status in known if request.actor.can("approvals.request", status)},
        **links,
    }
    return render(request, "billing/budgets.html", context)


@require_http_methods(["GET", "HEAD", "POST"])
@page("budgets.manage")
def budget_create(request: TenantRequest) -> HttpResponse:
    """Set a budget for the organisation, a project, a tag or a person."""
    form = NewBudget(
        request.POST or None,
        projects=projects_for(request.actor, "budgets.manage"),
        whole=request.actor.can("budgets.manage"),
        known=queries.budgets(),
        people=[
            (one.user_id, one.user.email) for one in Membership.objects.select_related("user").order_by("user__email")
        ],
        currency=queries.tenant_today().currency,
    )

    made: list[UUID] = []

    def create() -> None:
        scope: dict[str, Any] = {"project_id": form.project_id, "kind": form.kind}
        made.append(budgets.create_budget(actor=request.actor, **scope, **_terms(form)).pk)

    if request.method == "POST" and _done(form, create):
        _say(request, made[0], "Budget created. It counts what is already spent and held in its running period.")
        return _back(request)
    return render(request, "billing/budget.html", {"form": form}, status=422 if form.errors else 200)


@require_http_methods(["GET", "HEAD", "POST"])
@page("budgets.manage")
def budget_change(request: TenantRequest, budget_id: UUID) -> HttpResponse:
    """Change a budget, effective in its running period."""
    status = queries.budget(budget_id)
    request.actor.require("budgets.manage", status)
    form = BudgetTerms(request.POST or None, status=status, currency=status.currency)

    def change() -> None:
        terms = _terms(form)
        # The form shows what holds in the running period: a raise that is left as it is neither ends nor stays permanently.
        if terms["amount"] == status.limit.amount:
            terms["amount"] = None
        budgets.change_budget(actor=request.actor, budget_id=budget_id, **terms)

    if request.method == "POST" and _done(form, change):
        _say(request, budget_id, f"Budget changed, starting this {status.length}.")
        return _back(request)
    context = {"form": form, "budget": status, "outlook": outlook(status), "costliest": costliest(status)}
    return render(request, "billing/budget.html", context, status=422 if form.errors else 200)


@require_POST
@page("budgets.manage")
def budget_close(request: TenantRequest, budget_id: UUID) -> HttpResponse:
    """Close a budget; its past months stay."""
    budgets.close_budget(actor=request.actor, budget_id=budget_id)
    messages.success(request, "Budget deleted. Its history stays.")
    return _back(request)


def _done(form: BudgetTerms, act: Callable[[], None]) -> bool:
    """Execute a valid form; attach refusals to their fields."""
    if not form.is_valid():
        return False
    try:
        act()
    except Invalid as refused:
        for name, texts in (refused.fields or {"": [refused.message]}).items():
            for text in texts:
                form.add_error(name if name in form.fields else None, text)
        return False
    except ExchequerError as refused:
        form.add_error(None, refused.message)
        return False
    return True


def _say(request: TenantRequest, budget_id: UUID, done: str) -> None:
    """Show what was done; for a budget below what is already spent and held, also the consequence."""
    status = queries.budget(budget_id)
    if status.promised <= status.limit:
        messages.success(request, done)
        return
    spent, held, limit = (one.plain() for one in (status.spent, status.held, status.limit))
    already = f"{spent} is spent" if status.spent > status.limit else f"{spent} is spent and {held} held"
    messages.warning(request, f"{done} It is below that: {already} already, of {limit}. {FOLLOWS[status.at_limit]}")


def _terms(form: BudgetTerms) -> dict[str, Any]:
    return {name: form.cleaned_data[name] for name in ("amount", "at_limit", "alerts")}


def _exported(status: queries.BudgetStatus) -> tuple[object, ...]:
    return (
        status.project_name or "whole organisation",
        status.length,
        status.period,
        status.limit.amount,
        status.spent.amount,
        status.held.amount,
        status.left.amount,
        status.currency,
        status.used_percent,
        status.forecast.amount,
        ", ".join(map(str, status.alerts)),
        status.at_limit,
        status.state,
    )


def _back(request: TenantRequest) -> HttpResponse:
    return redirect("budgets", request.tenant.slug)
