"""The REST endpoint of an organisation's own what-if: a month under another commitment, minimum or discount."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from billing.pricing.what_if import SIMPLE_TERMS, what_if_of_own
from tenants.parsing import parse_month
from tenants.web.body_fields import Amount, checked
from tenants.web.views import ApiView


class OwnQuestionSerializer(serializers.Serializer[Any]):
    """What would be different from the contract; null takes a term away, and what is not given stays."""

    period = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=10,
        help_text="a month, such as 2026-11; empty: the last",
    )
    commitment = Amount(max_digits=38, decimal_places=12, required=False, allow_null=True, help_text="a month")
    minimum = Amount(max_digits=38, decimal_places=12, required=False, allow_null=True, help_text="a month")
    discount = Amount(
        max_digits=9, decimal_places=6, required=False, allow_null=True, help_text="per cent off all usage"
    )


class OwnChangeSerializer(serializers.Serializer[Any]):
    """What a term adds or takes off."""

    kind = serializers.CharField(source="line.kind.value")
    term = serializers.CharField(source="line.term", allow_null=True)
    before = MoneySerializer(allow_null=True, help_text="null: the month has no such line")
    after = MoneySerializer(allow_null=True)
    change = MoneySerializer()


class OwnSumsSerializer(serializers.Serializer[Any]):
    """The sums of a bill, or by how much they change."""

    subtotal = MoneySerializer()
    tax = MoneySerializer()
    total = MoneySerializer()


class OwnComparedSerializer(serializers.Serializer[Any]):
    """A month as it is, and as it would be."""

    period = serializers.DateField()
    before = OwnSumsSerializer()
    after = OwnSumsSerializer()
    change = OwnSumsSerializer()
    lines = OwnChangeSerializer(many=True)


class OwnWhatIf(ApiView):
    """What a month would come to."""

    permissions = {"POST": "invoices.view"}

    @extend_schema(request=OwnQuestionSerializer, responses=OwnComparedSerializer)
    def post(self, request: Request) -> Response:
        """Compare a month with what it would be under the same contract with other terms. Nothing is stored."""
        data = checked(OwnQuestionSerializer(data=request.data))
        changed = {name: data[name] for name in SIMPLE_TERMS if name in data}
        found = what_if_of_own(actor=self.actor, changed=changed, period=parse_month(data["period"]))
        return Response(OwnComparedSerializer(found).data)
