"""How the API says why somebody, or a key, may do something."""

from typing import Any

from rest_framework import serializers


class AccessSerializer(serializers.Serializer[Any]):
    """One reason why somebody may do something."""

    holder = serializers.CharField()
    kind = serializers.CharField(help_text="person, group (without people) or service account")
    role = serializers.CharField()
    project = serializers.CharField(help_text="Name of the project; empty: the whole organisation")
    group = serializers.CharField(help_text="Name of the group that holds the grant; empty: their own")
    granted_by = serializers.CharField(help_text="Empty for grants that Exchequer made")
    because = serializers.CharField(help_text="The reason in words")
    permissions = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.DateTimeField(allow_null=True)


class KeyAccessSerializer(serializers.Serializer[Any]):
    """Why a key may do what it may: the grants of its holder, each with what it gives within the key's scopes and project."""

    holder = serializers.CharField(help_text="The member or the service account that it belongs to")
    kind = serializers.CharField(
        help_text="person, service account, or installation: of a key that has its scopes by no grant"
    )
    reasons = AccessSerializer(many=True)
    idle_scopes = serializers.ListField(
        source="idle", child=serializers.CharField(), help_text="Scopes that none of these grants gives"
    )
