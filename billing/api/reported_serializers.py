"""Serializers of the API of reported usage."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.api.fields import Key, MoneySerializer, Quantity
from tenants.web.body_fields import Amount, Whole


class BatchSerializer(serializers.Serializer[Any]):
    """A request that reported usage, and its sender."""

    id = serializers.UUIDField()
    sender = serializers.CharField()
    sender_kind = serializers.CharField(help_text="api_key or user")
    sender_id = serializers.UUIDField(allow_null=True)
    received_at = serializers.DateTimeField()
    accepted = serializers.IntegerField(help_text="events that were counted")
    held = serializers.IntegerField(help_text="events that wait for a person")
    voided = serializers.IntegerField(help_text="of the accepted ones, those taken back")
    amount = MoneySerializer(help_text="what the accepted ones cost, voided ones included")


class ReportedEventSerializer(serializers.Serializer[Any]):
    """A counted event."""

    key = Key(help_text="stands for its source and id")
    source = serializers.CharField()  # type: ignore[assignment]
    resource = serializers.CharField()
    dims = serializers.DictField(child=serializers.CharField())
    meter = serializers.CharField()
    unit = serializers.CharField()
    project_name = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    quantity = Quantity(source="measured")
    cost = MoneySerializer()
    voided = serializers.BooleanField()


class BatchEventsSerializer(serializers.Serializer[Any]):
    """A request with a page of its events."""

    batch = BatchSerializer()
    results = ReportedEventSerializer(many=True)
    next = serializers.URLField(allow_null=True)


class ReasonSerializer(serializers.Serializer[Any]):
    """The reason; stored in the audit log."""

    reason = serializers.CharField(max_length=200)


class EventNameSerializer(serializers.Serializer[Any]):
    """Identity of an event."""

    source = serializers.CharField(max_length=120, trim_whitespace=False)  # type: ignore[assignment]
    id = serializers.CharField(max_length=200, trim_whitespace=False)


class VoidSerializer(ReasonSerializer):
    """Events to void."""

    events = EventNameSerializer(many=True, allow_empty=False, max_length=1_000)  # type: ignore[call-arg]


class VoidedSerializer(serializers.Serializer[Any]):
    """What was voided."""

    voided = serializers.IntegerField()
    amount = MoneySerializer()


class HeldSerializer(serializers.Serializer[Any]):
    """An event that is not counted, or was not at first."""

    id = serializers.UUIDField()
    batch = serializers.UUIDField(source="batch_id")
    sender = serializers.CharField()
    source = serializers.CharField()  # type: ignore[assignment]
    event_id = serializers.CharField(source="key")
    meter = serializers.CharField()
    resource = serializers.CharField()
    project_name = serializers.CharField()
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    quantity = Quantity(allow_null=True, help_text="null for time")
    dims = serializers.DictField(child=serializers.CharField())
    reason = serializers.CharField(help_text="old, before_prices or unpriced")
    state = serializers.CharField(help_text="waiting, accepted or rejected")
    received_at = serializers.DateTimeField()
    decided_at = serializers.DateTimeField(allow_null=True)
    decided_by = serializers.CharField()


class DecisionSerializer(ReasonSerializer):
    """Decision about waiting events."""

    events = serializers.ListField(child=serializers.UUIDField(), allow_empty=False, max_length=1_000)
    decision = serializers.ChoiceField(choices=["accept", "reject"])


class DecidedSerializer(serializers.Serializer[Any]):
    """The decision, and the cost of the accepted events."""

    decided = serializers.IntegerField(source="events")
    amount = MoneySerializer()


class NewLimitsSerializer(serializers.Serializer[Any]):
    """Limits of each sender per UTC day."""

    events = Whole(min_value=0, max_value=1_000_000_000)
    amount = Amount(max_digits=27, decimal_places=12, min_value=0)


class LimitsSerializer(serializers.Serializer[Any]):
    """Limits of each sender per UTC day; `own` if the organisation set them."""

    events = serializers.IntegerField()
    amount = MoneySerializer()
    own = serializers.BooleanField()
