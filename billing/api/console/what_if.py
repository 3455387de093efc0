"""The REST endpoint of a what-if: months of organisations as they are beside what they would come to."""

from __future__ import annotations

from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from billing.api.invoice_serializers import OrganisationSerializer
from billing.pricing.what_if import MOST_TENANTS, Assumed, what_if
from tenants.errors import Invalid
from tenants.operators.api.base import OperatorView
from tenants.parsing import parse_month
from tenants.web.body_fields import checked


class QuestionSerializer(serializers.Serializer[Any]):
    """Whose month, and what would be different. What is not given is as the contract has it."""

    tenants = serializers.ListField(child=serializers.UUIDField(), min_length=1, max_length=MOST_TENANTS)
    period = serializers.CharField(
        required=False,
        default="",
        allow_blank=True,
        max_length=10,
        help_text="a month, such as 2026-11; empty: the last",
    )
    price_book = serializers.UUIDField(required=False, default=None, allow_null=True)
    terms = serializers.DictField(
        required=False, default=None, allow_null=True, help_text="instead of all terms of the contract"
    )
    tax_rate = serializers.DecimalField(
        required=False, default=None, allow_null=True, max_digits=5, decimal_places=2, min_value=0, max_value=100
    )


class ChangeSerializer(serializers.Serializer[Any]):
    """What differs: usage of a meter by a project, or what a term adds or takes off."""

    kind = serializers.CharField(source="line.kind.value")
    project = serializers.UUIDField(source="line.project_id", allow_null=True)
    meter = serializers.CharField(source="line.meter", allow_null=True)
    term = serializers.CharField(source="line.term", allow_null=True)
    before = MoneySerializer(allow_null=True, help_text="null: the month has no such line")
    after = MoneySerializer(allow_null=True)
    change = MoneySerializer()


class SumsSerializer(serializers.Serializer[Any]):
    """The sums of a bill, or by how much they change."""

    subtotal = MoneySerializer()
    tax = MoneySerializer()
    total = MoneySerializer()


class ComparedSerializer(serializers.Serializer[Any]):
    """An organisation's month as it is, and as it would be."""

    tenant = OrganisationSerializer(source="*")
    period = serializers.DateField()
    before = SumsSerializer()
    after = SumsSerializer()
    change = SumsSerializer()
    lines = ChangeSerializer(many=True)


class AnswerSerializer(serializers.Serializer[Any]):
    """The answer to a what-if."""

    results = ComparedSerializer(many=True)


class WhatIf(OperatorView):
    """What months would come to."""

    permissions: ClassVar = {"POST": "prices.manage"}

    @extend_schema(request=QuestionSerializer, responses=AnswerSerializer)
    def post(self, request: Request) -> Response:
        """Compare a month of organisations with what it would be under another book, terms or tax.

        Nothing is stored. No key does this.
        """
        data = checked(QuestionSerializer(data=request.data))
        assumed = Assumed(book_id=data["price_book"], terms=data["terms"], tax_rate=data["tax_rate"])
        try:
            found = what_if(
                operator=self.operator,
                tenant_ids=data["tenants"],
                assumed=assumed,
                period=parse_month(data["period"]),
            )
        except Invalid as wrong:
            fields = {"price_book" if name == "book" else name: texts for name, texts in wrong.fields.items()}
            raise Invalid(fields=fields) from None
        return Response(AnswerSerializer({"results": found}).data)
