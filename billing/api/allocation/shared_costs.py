"""REST endpoints of shared cost: the rules by which it is split, and a month by project with it."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.allocation.shared_costs import set_shared_costs, shared_costs, shared_month
from billing.allocation.sharing import RULES, SOURCES, Rule
from billing.api.fields import MoneySerializer
from billing.queries.calendar import tenant_today
from tenants.parsing import parse_month
from tenants.web.body_fields import checked
from tenants.web.openapi import page_of
from tenants.web.views import ApiView


class SharedRowSerializer(serializers.Serializer[Any]):
    """A project's month with shared cost, without tax."""

    project = serializers.CharField(allow_null=True, help_text="an id; null for what belongs to no project")
    name = serializers.CharField()
    own = MoneySerializer(help_text="what it caused")
    given = MoneySerializer(help_text="what of it others pay")
    received = MoneySerializer(help_text="its share of what is shared")
    total = MoneySerializer(help_text="own, less given, and received")


class SharedTagSerializer(serializers.Serializer[Any]):
    """A tag with its value."""

    name = serializers.CharField(max_length=40)
    value = serializers.CharField(max_length=120)


class FixedShareSerializer(serializers.Serializer[Any]):
    """A fixed share."""

    project = serializers.UUIDField()
    percent = serializers.DecimalField(max_digits=7, decimal_places=4, min_value=0, max_value=100)


class SharingRuleSerializer(serializers.Serializer[Any]):
    """What is shared, and by which rule."""

    source = serializers.ChoiceField(choices=SOURCES)  # type: ignore[assignment]
    project = serializers.UUIDField(required=False, allow_null=True, default=None, help_text="of a project as source")
    tag = SharedTagSerializer(required=False, allow_null=True, default=None, help_text="of a tag as source")
    rule = serializers.ChoiceField(choices=RULES)
    resource = serializers.CharField(
        required=False, default="", allow_blank=True, max_length=80, help_text="whose quotas weigh, of by_quota"
    )
    shares = FixedShareSerializer(many=True, required=False, default=list, help_text="of fixed; they sum to 100")


class SharingRulesSerializer(serializers.Serializer[Any]):
    """The rules; a cost belongs to the first that fits."""

    rules = SharingRuleSerializer(many=True)


class SharedCosts(ApiView):
    """The rules by which shared cost is split."""

    permissions = {"GET": "invoices.view", "PUT": "invoices.manage"}

    @extend_schema(operation_id="shared_costs_retrieve", responses=SharingRulesSerializer)
    def get(self, request: Request) -> Response:
        """Return the rules in order."""
        return self._answer()

    @extend_schema(request=SharingRulesSerializer, responses=SharingRulesSerializer)
    def put(self, request: Request) -> Response:
        """Replace the list. Chargeback shows every month by it; invoices stay as they are."""
        body = checked(SharingRulesSerializer(data=request.data))
        set_shared_costs(actor=self.actor, rules=[_rule(one) for one in body["rules"]])
        return self._answer()

    def _answer(self) -> Response:
        return Response(SharingRulesSerializer({"rules": [_shown(one) for one in shared_costs()]}).data)


class SharedMonthEndpoint(ApiView):
    """A month by project, with shared cost."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(
        operation_id="chargeback_shared_list",
        parameters=[OpenApiParameter("period", str, description="a month, such as 2026-11; default: the running one")],
        responses=page_of(SharedRowSerializer),
    )
    def get(self, request: Request) -> Response:
        """Return each project's own cost, its share and the total, the dearest first.

        The totals add up to the invoice's sum without tax, to the minor unit.
        """
        period = parse_month(request.query_params.get("period", "")) or tenant_today().period
        return self.whole(shared_month(period).rows, SharedRowSerializer)


def _rule(given: dict[str, Any]) -> Rule:
    tag, shares = given["tag"], given["shares"]
    return Rule(
        source=given["source"],
        how=given["rule"],
        project=str(given["project"]) if given["project"] else None,
        tag=(tag["name"], tag["value"]) if tag else None,
        resource=given["resource"],
        shares={str(one["project"]): one["percent"] for one in shares},
    )


def _shown(rule: Rule) -> dict[str, Any]:
    return {
        "source": rule.source,
        "project": rule.project,
        "tag": {"name": rule.tag[0], "value": rule.tag[1]} if rule.tag else None,
        "rule": rule.how,
        "resource": rule.resource,
        "shares": [{"project": name, "percent": percent} for name, percent in sorted(rule.shares.items())],
    }
