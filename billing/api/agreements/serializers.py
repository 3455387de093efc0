"""What the API states of disputes, to both sides."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from billing.api.invoice_serializers import OrganisationSerializer
from billing.invoices.disputes import DisputeRow, Written
from billing.models.disputes import DISPUTE_STATES, LONGEST_TEXT, SIDES


class DisputeSerializer(serializers.Serializer[DisputeRow]):
    """An objection to a line of an invoice."""

    id = serializers.UUIDField()
    invoice = serializers.UUIDField(source="invoice_id")
    number = serializers.CharField(help_text="of the invoice; empty for a draft")
    line = serializers.UUIDField(source="line_id")
    line_number = serializers.IntegerField(source="line", help_text="when it was opened")
    state = serializers.CharField(help_text=", ".join(DISPUTE_STATES))
    opened_by = serializers.CharField()
    opened_at = serializers.DateTimeField()
    ended_at = serializers.DateTimeField(allow_null=True)


class ListedDisputeSerializer(DisputeSerializer):
    """A dispute as the seller lists it."""

    tenant = OrganisationSerializer(source="*")


class MessageSerializer(serializers.Serializer[Written]):
    """What a side wrote."""

    side = serializers.CharField(help_text=", ".join(SIDES))
    text = serializers.CharField()
    by = serializers.CharField()
    at = serializers.DateTimeField()


class ThreadSerializer(serializers.Serializer[Any]):
    """A dispute with its messages, the reason first."""

    dispute = DisputeSerializer(source="row")
    messages = MessageSerializer(many=True)


class TextSerializer(serializers.Serializer[Any]):
    """A message."""

    text = serializers.CharField(max_length=LONGEST_TEXT)


class NewDisputeSerializer(serializers.Serializer[Any]):
    """What is disputed, and why."""

    line = serializers.UUIDField(help_text="the id of a line of the invoice")
    reason = serializers.CharField(max_length=LONGEST_TEXT)
