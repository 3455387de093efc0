"""REST endpoint of quotas: limits by resource and scope, with what is in use."""

from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from tenants import quotas
from tenants.quotas import scopes
from tenants.web.body_fields import Whole, checked
from tenants.web.openapi import page_of
from tenants.web.views import ApiView

ALL = "all"
SCOPE = OpenApiParameter(
    "scope", str, description="tenant (without it), project:<id or short name>, person:<id or address>, or all."
)


class QuotaSerializer(serializers.Serializer[Any]):
    """A scope's limit of a resource and its use, in the resource's unit."""

    resource = serializers.CharField(max_length=80)
    limit = Whole(allow_null=True, min_value=0, help_text="null for no limit; a change ends a raise")
    in_use = serializers.FloatField(read_only=True)
    scope = serializers.CharField(
        required=False,
        max_length=300,
        help_text="tenant (without it), project:<id or short name>, person:<id or address>",
    )
    period = serializers.CharField(
        required=False, max_length=20, help_text="at_once or month; each resource is counted in one of them"
    )
    guaranteed = Whole(required=False, min_value=0, help_text="Devices of it that come before the work of others")
    weight = Whole(required=False, min_value=1, help_text="Its share when projects compete for devices")
    title = serializers.CharField(read_only=True)
    whose = serializers.CharField(read_only=True)
    unit = serializers.CharField(read_only=True, help_text="Of the figures; empty for a number of things")
    effective_limit = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="What binds: a raise, or the ceiling, where it is lower"
    )
    left = serializers.FloatField(read_only=True, allow_null=True)
    ceiling = serializers.IntegerField(
        read_only=True, allow_null=True, help_text="The operators', of the whole organisation"
    )
    raised_until = serializers.DateTimeField(read_only=True, allow_null=True)


def shown(uses: list[quotas.QuotaUse]) -> list[dict[str, Any]]:
    """Return rows as they are answered, in the units of their resources."""
    known, names = quotas.resources(), scopes.names({use.scope for use in uses})
    rows = []
    for use in uses:
        found = known.get(use.resource, quotas.Resource(use.resource, use.resource))
        amounts = {
            "limit": use.limit, "in_use": use.in_use, "effective_limit": use.effective, "left": use.left,
            "ceiling": use.ceiling, "guaranteed": use.guaranteed,
        }  # fmt: skip
        row: dict[str, Any] = {
            name: None if amount is None else found.shown(amount) for name, amount in amounts.items()
        }
        row |= {"resource": use.resource, "title": found.title, "unit": found.unit_words, "period": use.period}
        row |= {"scope": use.scope.text, "whose": names[use.scope], "weight": use.weight}
        rows.append(row | {"raised_until": use.raised_until})
    return rows


class Quotas(ApiView):
    """Limits by resource and scope."""

    permissions = {"GET": "quotas.view", "PUT": "quotas.manage"}

    @extend_schema(parameters=[SCOPE], responses=page_of(QuotaSerializer))
    def get(self, request: Request) -> Response:
        """List the organisation's resources with their limits and current use; `scope` names others."""
        asked = request.query_params.get("scope", "")
        uses = quotas.everywhere()
        if asked != ALL:
            scope = scopes.parse(asked)
            uses = [use for use in uses if use.scope == scope]
        return self.whole(shown(uses), QuotaSerializer)

    @extend_schema(request=QuotaSerializer, responses=QuotaSerializer)
    def put(self, request: Request) -> Response:
        """Set or lift a limit of the organisation, a project or a person."""
        data = checked(QuotaSerializer(data=request.data))
        scope = scopes.parse(data.get("scope", ""))
        quotas.check_limit(data["resource"], data["limit"], scope=scope, period=data.get("period", ""))
        share = None
        if data.keys() & {"guaranteed", "weight"}:
            use, unit = quotas.use_of(data["resource"], scope), quotas.resources()[data["resource"]].unit
            share = quotas.Share(
                guaranteed=data.get("guaranteed", use.guaranteed // unit), weight=data.get("weight", use.weight)
            )
        changed = quotas.set_limit(
            actor=self.actor, resource=data["resource"], limit=data["limit"], scope=scope, share=share
        )
        return Response(QuotaSerializer(shown([changed])[0]).data)
