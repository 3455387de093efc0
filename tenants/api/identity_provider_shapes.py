"""How the API takes and answers an identity provider, its domains, SCIM tokens, groups and people."""

from typing import Any

from rest_framework import serializers

from tenants.models import GIVEN_ROLES, PROVIDER_KINDS
from tenants.web.body_fields import Moment


class ProviderSerializer(serializers.Serializer[Any]):
    """The identity provider, without its secret."""

    id = serializers.UUIDField()
    kind = serializers.CharField(help_text="oidc or saml")
    name = serializers.CharField()
    issuer = serializers.CharField(help_text="Issuer of OpenID, or entity ID of SAML")
    client_id = serializers.CharField()
    has_secret = serializers.BooleanField()
    sign_in_url = serializers.CharField()
    certificates = serializers.ListField(child=serializers.CharField())
    default_role = serializers.CharField(help_text="Role of new members")
    highest_role = serializers.CharField(help_text="No group that the provider fills has more")
    just_in_time = serializers.BooleanField(help_text="Whether a first log-in makes a member")
    trusts_email = serializers.BooleanField()
    groups_claim = serializers.CharField()
    enabled = serializers.BooleanField()
    is_required = serializers.BooleanField(
        source="required", help_text="Whether people with an address in a verified domain must use it"
    )
    leavers_jobs = serializers.CharField(
        help_text="What becomes of the open jobs of members whom it removes by SCIM: keep, cancel, or who gets them"
    )
    created_at = serializers.DateTimeField()


class WantedProviderSerializer(serializers.Serializer[Any]):
    """The identity provider as it is to be. Without `client_secret` the stored one stays."""

    kind = serializers.ChoiceField(choices=[kind for kind, _ in PROVIDER_KINDS])
    name = serializers.CharField(max_length=60)
    issuer = serializers.CharField(max_length=500)
    client_id = serializers.CharField(max_length=200, required=False, allow_blank=True)
    client_secret = serializers.CharField(max_length=500, required=False, allow_blank=True)
    sign_in_url = serializers.CharField(max_length=500, required=False, allow_blank=True)
    certificates = serializers.ListField(child=serializers.CharField(max_length=20_000), max_length=5, required=False)
    default_role = serializers.ChoiceField(choices=GIVEN_ROLES, required=False)
    highest_role = serializers.ChoiceField(choices=GIVEN_ROLES, required=False)
    just_in_time = serializers.BooleanField(required=False)
    trusts_email = serializers.BooleanField(required=False)
    groups_claim = serializers.CharField(max_length=120, required=False, allow_blank=True)
    enabled = serializers.BooleanField(required=False)


class RequiredSerializer(serializers.Serializer[Any]):
    """Whether people with an address in a verified domain come in by the provider only."""

    is_required = serializers.BooleanField()


class LeaversSerializer(serializers.Serializer[Any]):
    """What becomes of the open jobs of members whom the provider removes by SCIM."""

    jobs = serializers.CharField(
        max_length=40, help_text="keep, cancel, or the id of the member to whom they are handed over"
    )


class DomainSerializer(serializers.Serializer[Any]):
    """A domain, with the TXT record that proves it."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    record_name = serializers.CharField()
    record_text = serializers.CharField()
    verified_at = serializers.DateTimeField(allow_null=True)
    missing_since = serializers.DateTimeField(
        allow_null=True, help_text="Since when its record is gone; after seven days the domain is not verified any more"
    )
    created_at = serializers.DateTimeField()


class NewDomainSerializer(serializers.Serializer[Any]):
    """A domain to list."""

    name = serializers.CharField(max_length=253)


class TokenSerializer(serializers.Serializer[Any]):
    """A SCIM token without its secret."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    prefix = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()
    expires_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)


class WantedTokenSerializer(serializers.Serializer[Any]):
    """A SCIM token to create."""

    name = serializers.CharField(max_length=120)
    expires_at = Moment(required=False, allow_null=True)


class NewTokenSerializer(serializers.Serializer[Any]):
    """A new SCIM token; its secret is shown once."""

    id = serializers.UUIDField()
    token = serializers.CharField(source="secret", allow_null=True, help_text="Null in repeated responses")


class MappingSerializer(serializers.Serializer[Any]):
    """A group that the provider fills."""

    id = serializers.UUIDField()
    group_id = serializers.UUIDField()
    group = serializers.CharField()
    claim = serializers.CharField(help_text="Its name at the provider")
    external_id = serializers.CharField(help_text="Its id at the provider, if SCIM gave one")
    members = serializers.IntegerField()
    is_within = serializers.BooleanField(help_text="False: it has more than the highest role, and gets nobody new")


class NewMappingSerializer(serializers.Serializer[Any]):
    """A group that the provider is to fill."""

    group_id = serializers.UUIDField()
    claim = serializers.CharField(max_length=255)


class LinkedSerializer(serializers.Serializer[Any]):
    """A person whom the provider names."""

    id = serializers.UUIDField()
    subject = serializers.CharField(help_text="The provider's name for the person")
    user_id = serializers.UUIDField()
    email = serializers.CharField()
    created_at = serializers.DateTimeField()
    last_used_at = serializers.DateTimeField(allow_null=True)
