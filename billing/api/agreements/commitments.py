"""The REST endpoint of what the contract commits the organisation to."""

from __future__ import annotations

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from billing.api.fields import MoneySerializer
from billing.pricing.commitments import CommitmentView, commitments
from tenants.web.openapi import page_of
from tenants.web.views import ApiView


class CommitmentSerializer(serializers.Serializer[CommitmentView]):
    """A savings plan, a commitment or a minimum, and how far the running month is."""

    kind = serializers.CharField(help_text="savings_plan, commitment or minimum")
    key = serializers.CharField()
    per = serializers.CharField(help_text="hour or month")
    amount = MoneySerializer()
    percent = serializers.DecimalField(
        max_digits=9, decimal_places=6, allow_null=True, help_text="what a savings plan takes off what it pays for"
    )
    meters = serializers.ListField(child=serializers.CharField(), help_text="empty: all")
    projects = serializers.ListField(child=serializers.UUIDField(), help_text="empty: all")
    committed = MoneySerializer(source="plan.committed", allow_null=True, help_text="the fee of the whole month")
    used = MoneySerializer(
        source="plan.used", allow_null=True, help_text="the part of it that has paid for usage so far"
    )
    covered = MoneySerializer(source="plan.covered", allow_null=True, help_text="that usage at contracted prices")
    eligible = MoneySerializer(
        source="plan.eligible", allow_null=True, help_text="all usage so far that it could pay for"
    )
    utilisation = serializers.DecimalField(
        source="plan.utilisation",
        max_digits=20,
        decimal_places=1,
        allow_null=True,
        help_text="used of committed, per cent",
    )
    coverage = serializers.DecimalField(
        source="plan.coverage",
        max_digits=20,
        decimal_places=1,
        allow_null=True,
        help_text="covered of eligible, per cent",
    )
    missing = MoneySerializer(allow_null=True, help_text="what a commitment or minimum lacks so far")


class Commitments(ApiView):
    """What the contract commits the organisation to."""

    permissions = {"GET": "invoices.view"}

    @extend_schema(operation_id="commitments_list", responses=page_of(CommitmentSerializer))
    def get(self, request: Request) -> Response:
        """List savings plans, commitments and minimums of the contract in force, with the running month's figures."""
        return self.whole(commitments(), CommitmentSerializer)
