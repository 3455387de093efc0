"""REST endpoints of budgets."""

from __future__ import annotations

from decimal import Decimal
from uuid import UUID

from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from rest_framework.response import Response

from billing import queries
from billing.api import serializers as forms
from billing.api.outlook_serializers import BudgetDetailSerializer, JobCostSerializer, OutlookSerializer
from billing.budgets import budgets, requests
from billing.budgets.outlook import costliest, outlook
from billing.money import fineness_fault
from billing.queries.budgets import must_be_open
from billing.rating.tags import PREFIX, parse_tags
from tenants.approvals.shapes import ApprovalSerializer, answer
from tenants.errors import Invalid
from tenants.parsing import uuid_in
from tenants.queries import find_project
from tenants.quotas import scopes
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.pagination import PAGE
from tenants.web.views import ApiView


class Budgets(ApiView):
    """Budgets of the tenant and its projects."""

    permissions = {"GET": "budgets.view", "POST": "budgets.manage"}

    @extend_schema(operation_id="budgets_list", responses=page_of(forms.BudgetStatusSerializer))
    def get(self, request: Request) -> Response:
        """List budgets with the use of their running periods, the organisation's first."""
        return self.whole(queries.budgets(), forms.BudgetStatusSerializer)

    @extend_schema(request=forms.BudgetSerializer, responses={201: forms.BudgetStatusSerializer})
    def post(self, request: Request) -> Response:
        """Set a budget for the organisation, a project, a person, or work with a tag (`tag:team=vision`)."""
        data = checked(forms.BudgetSerializer(data=request.data))
        _check_fineness(data["amount"], queries.tenant_today().currency)
        scope = data["scope"]
        tag = _tag(scope)
        project = None if tag or scope == "tenant" else find_project(scope)
        person = None if tag or project or scope == "tenant" else _person(scope)
        budget = budgets.create_budget(
            actor=self.actor,
            project_id=project.id if project else None,
            kind=budgets.BudgetKind(tag, person, data["period"]),
            amount=data["amount"],
            at_limit=data["at_limit"],
            alerts=data["alerts"],
        )
        return Response(forms.BudgetStatusSerializer(queries.budget(budget.pk)).data, status=201)


class Budget(ApiView):
    """Show, change or close one budget."""

    permissions = {"GET": "budgets.view", "PATCH": "budgets.manage", "DELETE": "budgets.manage"}

    @extend_schema(responses=BudgetDetailSerializer)
    def get(self, request: Request, budget_id: UUID) -> Response:
        """Return one budget with its forecast, runway, unusual days and costliest jobs."""
        status = queries.budget(budget_id)
        leads = outlook(status)
        told = None if leads is None else OutlookSerializer(leads).data
        jobs = JobCostSerializer(costliest(status), many=True).data
        return Response({**forms.BudgetStatusSerializer(status).data, "outlook": told, "costliest": jobs})

    @extend_schema(request=forms.BudgetChangeSerializer, responses=forms.BudgetStatusSerializer)
    def patch(self, request: Request, budget_id: UUID) -> Response:
        """Change amount, alerts or what happens at the limit, effective in the running period."""
        data = checked(forms.BudgetChangeSerializer(data=request.data))
        if "amount" in data:
            _check_fineness(data["amount"], queries.budget(budget_id).currency)
        budgets.change_budget(
            actor=self.actor,
            budget_id=budget_id,
            amount=data.get("amount"),
            at_limit=data.get("at_limit"),
            alerts=data.get("alerts"),
        )
        return Response(forms.BudgetStatusSerializer(queries.budget(budget_id)).data)

    @extend_schema(responses={204: None})
    def delete(self, request: Request, budget_id: UUID) -> Response:
        """Close a budget; its past months stay."""
        budgets.close_budget(actor=self.actor, budget_id=budget_id)
        return Response(status=204)


class BudgetRequests(ApiView):
    """Requests for a higher budget."""

    permissions = {"POST": "approvals.request"}

    @extend_schema(request=forms.BudgetRequestSerializer, responses={201: ApprovalSerializer})
    def post(self, request: Request, budget_id: UUID) -> Response:
        """Ask for a higher amount; a second person answers it (`/approvals/`)."""
        data = checked(forms.BudgetRequestSerializer(data=request.data))
        _check_fineness(data["amount"], queries.budget(budget_id).currency)
        row = requests.request(actor=self.actor, budget_id=budget_id, **data)
        return Response(answer(self.actor, row.id), status=201)


class BudgetAlerts(ApiView):
    """Crossed thresholds of one budget."""

    permissions = {"GET": "budgets.view"}

    @extend_schema(operation_id="budgets_alerts_list", parameters=PAGE, responses=page_of(forms.BudgetAlertSerializer))
    def get(self, request: Request, budget_id: UUID) -> Response:
        """List crossed thresholds, newest first."""
        must_be_open(budget_id)
        rows = queries.alerts(budget_id=budget_id, before=self.before(UUID), limit=self.page_size())
        return self.paginated(rows, forms.BudgetAlertSerializer, lambda row: (row.id,))


def _tag(scope: str) -> tuple[str, str] | None:
    if not scope.startswith(PREFIX):
        return None
    try:
        ((name, value),) = parse_tags([scope.removeprefix(PREFIX)]).items()
    except ValueError as error:
        raise Invalid(fields={"scope": [str(error)]}) from None
    return name, value


def _person(scope: str) -> UUID:
    person = scopes.parse(f"person:{scope}").person if uuid_in(scope) else None
    if person is None:
        text = "Give `tenant`, the id or short name of a project, `tag:name=value`, or the id of a member."
        raise Invalid(fields={"scope": [text]})
    return person


def _check_fineness(amount: Decimal, currency: str) -> None:
    # Checked here and in the form, not in the operation: budgets computed from prices may be finer than a cent.
    if fault := fineness_fault(amount, currency):
        raise Invalid(fields={"amount": [fault]})
