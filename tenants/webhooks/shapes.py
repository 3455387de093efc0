"""Shapes of webhooks, types of events and deliveries in the API, of both sides."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from tenants.models import DeliveryState, WebhookFormat


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


class WebhookSerializer(serializers.Serializer[Any]):
    """An address that receives events of the chosen types."""

    id = serializers.UUIDField(read_only=True)
    name = serializers.CharField(max_length=60)
    url = serializers.CharField(
        max_length=2048,
        write_only=True,
        help_text="https on port 443, at a public address. It is sealed: answers show its host",
    )
    host = serializers.CharField(read_only=True)
    types = serializers.ListField(
        child=serializers.CharField(max_length=40), max_length=100, help_text="Names of `webhooks/types/`"
    )
    format = serializers.ChoiceField(choices=WebhookFormat.choices, required=False)
    enabled = serializers.BooleanField(required=False)
    disabled_because = serializers.CharField(read_only=True)
    created_by = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    previous_until = serializers.DateTimeField(
        read_only=True, allow_null=True, help_text="Until then the secret before the last rotation signs too"
    )
    failures = serializers.IntegerField(read_only=True, help_text="Failed attempts since the last success")
    failing_since = serializers.DateTimeField(read_only=True, allow_null=True)
    last_delivered_at = serializers.DateTimeField(read_only=True, allow_null=True)
    waiting = serializers.IntegerField(read_only=True, help_text="Deliveries whose next attempt is to come")


class NewWebhookSerializer(WebhookSerializer):
    """A webhook with its signing secret, which is shown once."""

    secret = serializers.CharField(read_only=True, allow_null=True, help_text="null when a request is repeated")
