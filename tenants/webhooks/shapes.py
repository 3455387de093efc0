"""Shapes of types of events and of deliveries in the API, of both sides."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from tenants.models import DeliveryState


class EventTypeSerializer(serializers.Serializer[Any]):
    """A type of event that webhooks choose."""

    name = serializers.CharField()
    title = serializers.CharField()


class DeliveryAttemptSerializer(serializers.Serializer[Any]):
    """One attempt: the status of the response, or the code of an error."""

    number = serializers.IntegerField()
    at = serializers.DateTimeField()
    status = serializers.IntegerField(allow_null=True)
    error = serializers.CharField(allow_blank=True)
    took_ms = serializers.IntegerField()
    said = serializers.CharField(allow_blank=True, help_text="The start of the response, or the error in words")


class DeliverySerializer(serializers.Serializer[Any]):
    """One event for one webhook."""

    id = serializers.UUIDField()
    event_id = serializers.CharField(help_text="The same in every attempt: receivers ignore an event that they know")
    type = serializers.CharField()
    state = serializers.ChoiceField(choices=DeliveryState.choices)
    attempts = serializers.IntegerField()
    created_at = serializers.DateTimeField()
    next_at = serializers.DateTimeField(allow_null=True, help_text="The next attempt is made by then")
    ended_at = serializers.DateTimeField(allow_null=True)
    body = serializers.CharField(help_text="As it is sent and signed")
    log = DeliveryAttemptSerializer(many=True, help_text="The last 30 attempts")
