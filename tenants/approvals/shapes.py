"""How the API answers a request that waits for a second person."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import serializers

from tenants.access.actor import Actor
from tenants.approvals import queries


class ApprovalSerializer(serializers.Serializer[Any]):
    """A request that a second person answers."""

    id = serializers.UUIDField()
    kind = serializers.CharField()
    title = serializers.CharField()
    sentence = serializers.CharField(help_text="What is wanted")
    project_id = serializers.UUIDField(allow_null=True)
    requester = serializers.CharField(source="requester_label")
    target = serializers.CharField()
    wanted = serializers.DictField(help_text="What the approval applies; its fields depend on `kind`")
    reason = serializers.CharField()
    state = serializers.CharField(help_text="open, approved, declined or expired")
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True, help_text="null: it waits until it is answered")
    answered_by = serializers.CharField(source="answered_by_label")
    answered_at = serializers.DateTimeField(allow_null=True)
    answer_reason = serializers.CharField()
    may_answer = serializers.BooleanField(help_text="Whether the caller can approve or decline it now")


def answer(actor: Actor, approval_id: UUID) -> Any:
    """Return the answer for one request."""
    (row,) = queries.approvals(actor, only=approval_id)
    return ApprovalSerializer(row).data
