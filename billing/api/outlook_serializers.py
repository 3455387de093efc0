"""What the API answers about where a budget's spending leads."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.api.fields import MoneySerializer
from billing.api.serializers import BudgetStatusSerializer


class JobCostSerializer(serializers.Serializer[Any]):
    """What one job cost in some days."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    cost = MoneySerializer()


class UnusualDaySerializer(serializers.Serializer[Any]):
    """A day that cost far more than its weekday does."""

    day = serializers.DateField()
    cost = MoneySerializer()
    expected = MoneySerializer(help_text="mean of the weekday in the eight weeks before")
    jobs = JobCostSerializer(many=True, help_text="the three costliest of the day")


class OutlookSerializer(serializers.Serializer[Any]):
    """Where spending leads, learnt from the weekdays of the last eight weeks."""

    expected = MoneySerializer(help_text="cost of the whole period")
    low = MoneySerializer(help_text="eight of ten periods end between low and high")
    high = MoneySerializer()
    runway_on = serializers.DateField(
        allow_null=True, help_text="day on which the budget is spent; null within the period"
    )
    unusual = UnusualDaySerializer(many=True, help_text="of the last 14 days, newest first")


class BudgetDetailSerializer(BudgetStatusSerializer):
    """A budget with its outlook."""

    costliest = JobCostSerializer(
        many=True, help_text="the three costliest jobs of the running period; none for a person's budget"
    )
    outlook = OutlookSerializer(
        allow_null=True, help_text="null with less than two weeks of usage, and for a person's budget"
    )
